// nginx as the gateway, over time: reloads, the end of workers, and what stays behind.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Elsewhere } from '../nginx/elsewhere.ts'
import {
  afterTest,
  BUILD_TIMEOUT,
  buildModule,
  cleanUp,
  eventually,
  gateway,
  Nginx,
  TIMEOUT,
} from '../nginx/support.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

const refuse = () => ({ result: 'refused', reason: 'not today' }) as const

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** One request on a connection of its own. */
async function visit(nginx: Nginx, path: string): Promise<string> {
  const client = await nginx.client()
  await client.send(get(path))
  const { body } = await client.response()
  client.close()
  return body.toString().split(' ')[0] ?? ''
}

/** Requests one after the other, until `over`; what was answered. */
async function load(nginx: Nginx, over: () => boolean): Promise<Map<string, number>> {
  const answers = new Map<string, number>()
  while (!over()) {
    const answer = await visit(nginx, '/load')
    answers.set(answer, (answers.get(answer) ?? 0) + 1)
  }
  return answers
}

test('reloads under load: no request is lost, and old workers end', async () => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  let count = 0
  const { errors } = await gateway(nginx, (arrival) => (count++ % 2 === 0 ? there.take(arrival) : refuse()))
  let over = false
  const loads = Array.from({ length: 4 }, () => load(nginx, () => over))
  for (let round = 0; round < 3; round++) {
    const [before, seen] = [nginx.workers, count]
    await eventually(() => count > seen + 20, 'the load')
    nginx.kill('SIGHUP')
    await eventually(() => nginx.workers.length === 2 && !nginx.workers.some((pid) => before.includes(pid)), 'a reload')
  }
  over = true
  const answers = await Promise.all(loads)
  for (const answer of ['elsewhere', 'proxied']) expect(answers.some((each) => (each.get(answer) ?? 0) > 0)).toBe(true)
  expect(new Set(answers.flatMap((each) => [...each.keys()]))).toEqual(new Set(['elsewhere', 'proxied']))
  expect(errors).toEqual([])
})

test('a reload with connections in flight: the old worker waits for the answers', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const there = new Elsewhere()
  const release = Promise.withResolvers<void>()
  const { arrivals, server } = await gateway(nginx, async (arrival) => {
    if (arrivals.length > 2) return refuse()
    await release.promise
    return arrival.requests === 1 && arrival === arrivals[0] ? there.take(arrival) : refuse()
  })
  const visits = [visit(nginx, '/1'), visit(nginx, '/2')]
  await eventually(() => arrivals.length === 2)
  const [old = 0] = nginx.workers
  nginx.kill('SIGHUP')
  await eventually(async () => {
    await visit(nginx, '/3')
    return server.workers.length === 2
  }, 'the new worker')
  expect(nginx.workers).toContain(old)
  release.resolve()
  expect((await Promise.all(visits)).toSorted()).toEqual(['elsewhere', 'proxied'])
  await eventually(() => !nginx.workers.includes(old), 'the end of the old worker')
  await eventually(() => server.workers.length === 1)
})

test('a worker that is killed: what it had in flight is handed off nevertheless, or ends', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const there = new Elsewhere()
  const release = Promise.withResolvers<void>()
  const { arrivals } = await gateway(nginx, async (arrival) => {
    await release.promise
    return arrival === arrivals[0] ? there.take(arrival) : refuse()
  })
  const moved = await nginx.client()
  await moved.send(get('/1'))
  await eventually(() => arrivals.length === 1)
  const ended = await nginx.client()
  await ended.send(get('/2'))
  await eventually(() => arrivals.length === 2)
  const [worker = 0] = nginx.workers
  process.kill(worker, 'SIGKILL')
  await eventually(() => !nginx.workers.includes(worker))
  release.resolve()
  expect((await moved.response()).body.toString()).toBe('elsewhere GET /1 null ')
  await ended.end()
  expect(nginx.errorLog).toContain('exited on signal 9')
  nginx.expectAlerts()
})

test('a thousand connections leave nothing behind', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const there = new Elsewhere()
  let count = 0
  const { server } = await gateway(nginx, (arrival) => (count++ % 2 === 0 ? there.take(arrival) : refuse()))
  const [worker = 0] = nginx.workers
  await visit(nginx, '/1')
  await visit(nginx, '/2')
  await eventually(() => descriptors(worker) > 0)
  const [before, own] = [descriptors(worker), descriptors(process.pid)]
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => visit(nginx, `/${index}`)))
    expect(answers.filter((answer) => answer === 'elsewhere').length).toBe(50)
  }
  // Connections to the application that are kept open.
  await eventually(() => descriptors(worker) <= before + 4, 'the number of descriptors of the worker')
  await eventually(() => descriptors(process.pid) <= own + 8, 'the number of descriptors')
  expect(server.inFlight).toBe(0)
})

/** valgrind's words about the worker that has served these requests, each on a connection of its own. */
async function valgrind(requests: (nginx: Nginx) => Promise<void>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'xoffload-valgrind-'))
  afterTest(() => rmSync(directory, { recursive: true }))
  // The workers write there too.
  chmodSync(directory, 0o777)
  // nginx itself loses a few bytes: leaks are looked at below.
  const leaks = ['--leak-check=full', '--show-leak-kinds=definite,indirect', '--errors-for-leak-kinds=none']
  const command = ['valgrind', '--vgdb=no', '--trace-children=yes', ...leaks, `--log-file=${directory}/%p`]
  const nginx = await Nginx.start({ command, main: ['worker_processes 1;'], http: ['xoffload_handoff_timeout 1s;'] })
  await requests(nginx)
  const [worker] = nginx.workers
  expect(await nginx.quit()).toBe(0)
  return readFileSync(join(directory, `${worker}`), 'latin1')
}

test('valgrind finds no error, and no leak of the module', async () => {
  const there = new Elsewhere()
  const report = await valgrind(async (nginx) => {
    let count = 0
    const first = await gateway(nginx, (arrival) => {
      count++
      if (count % 4 === 0) throw new Error('broken')
      return count % 2 === 0 ? there.take(arrival) : refuse()
    })
    for (let round = 0; round < 20; round++) await visit(nginx, `/${round}`)
    await first.server.close()
    // Without a gateway, and with the next one.
    await visit(nginx, '/absent')
    await gateway(nginx, () => ({ result: 'lost', reason: 'nobody has it' }))
    await eventually(async () => {
      const client = await nginx.client()
      await client.send(get('/lost'))
      await client.until(() => client.received.length > 0 || client.ended, true)
      client.close()
      return nginx.accessLog.some((line) => line.startsWith('/lost 000 lost'))
    }, 'the next gateway')
  })
  expect(report).toContain('ERROR SUMMARY: 0 errors')
  expect(report).not.toContain('xoffload_')
})
