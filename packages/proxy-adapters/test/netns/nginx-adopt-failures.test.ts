// nginx as a server, over time: agents that come, go and hang, reloads, the end of workers, and what stays behind.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AdoptingNginx, type AdoptingNginxOptions, adoptClient, descriptors } from '../nginx/adopting-nginx.ts'
import { afterTest, BUILD_TIMEOUT, buildModule, cleanUp, eventually, TIMEOUT } from '../nginx/support.ts'
import type { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

const single = { main: ['worker_processes 1;'] }

/** Asks, and says which worker answered. */
async function worker(client: RawClient): Promise<number> {
  await client.send(get('/1'))
  const { status, body } = await client.response()
  expect(status).toBe(200)
  return Number(body.toString().split(' ').at(-1))
}

test('agents come and go: nginx serves, keeps what it has, and finds the next one', async () => {
  const nginx = await AdoptingNginx.start(single)
  const [pid = 0] = nginx.workers
  expect(await worker(await nginx.client())).toBe(pid)
  const kept: RawClient[] = []
  for (let round = 0; round < 3; round++) {
    const { server } = await nginx.agent()
    const { client } = await adoptClient(server)
    expect(await worker(client)).toBe(pid)
    server.close()
    kept.push(client)
    for (const each of kept) expect(await worker(each)).toBe(pid)
  }
  expect(nginx.errorLog.match(/\[error\].*agent.sock failed/g)?.length ?? 0).toBeLessThanOrEqual(1)
})

test('an agent that is closed while a request waits for its verdict: nginx serves it', async () => {
  const nginx = await AdoptingNginx.start(single)
  const { server } = await nginx.agent()
  const { client } = await adoptClient(server, {
    route: () => {
      server.close()
      return 'serve'
    },
  })
  expect(await worker(client)).toBeGreaterThan(0)
})

test('an agent that thinks too long: nginx serves, and does not ask for a while', async () => {
  const nginx = await AdoptingNginx.start(single)
  const { server } = await nginx.agent({ askTimeout: 5 })
  let asked = 0
  const route = () => {
    asked++
    const until = performance.now() + 50
    while (performance.now() < until);
    return 'suspend' as const
  }
  const { client, connection } = await adoptClient(server, { route, onSuspended: (suspended) => suspended.resume() })
  for (let index = 0; index < 20; index++) await worker(client)
  expect(connection.closed).toBe(false)
  expect(asked).toBeLessThan(20)
})

test('an agent that says nothing, and one that says what it may not', async () => {
  const nginx = await AdoptingNginx.start(single)
  for (const word of ['', 'x'.repeat(48)]) {
    const hello = Promise.withResolvers<void>()
    const listener = Bun.listen({
      unix: nginx.socket,
      socket: {
        data: (socket) => {
          socket.write(word)
          hello.resolve()
        },
      },
    })
    chmodSync(nginx.socket, 0o666)
    await hello.promise
    if (word !== '') await eventually(() => nginx.errorLog.includes('has ended'), 'the end of the channel')
    expect(await worker(await nginx.client())).toBeGreaterThan(0)
    listener.stop(true)
    rmSync(nginx.socket, { force: true })
  }
  const { server } = await nginx.agent()
  expect(await worker((await adoptClient(server)).client)).toBeGreaterThan(0)
})

test('a worker that dies: its connections end, others take what comes', async () => {
  const nginx = await AdoptingNginx.start(single)
  const { server } = await nginx.agent()
  const { client, closed } = await adoptClient(server)
  const pid = await worker(client)
  process.kill(pid, 'SIGKILL')
  await Promise.all([client.end(), closed])
  await eventually(() => server.processes.some((each) => each.pid !== pid), 'the next worker')
  expect(await worker((await adoptClient(server)).client)).not.toBe(pid)
  nginx.expectAlerts()
})

test('a reload: idle connections go on in the new workers, and the old ones end', async () => {
  const nginx = await AdoptingNginx.start()
  const { server, errors } = await nginx.agent()
  const clients = await Promise.all(Array.from({ length: 500 }, () => adoptClient(server)))
  for (const { client } of clients) await worker(client)
  for (let round = 0; round < 3; round++) {
    const old = nginx.workers
    nginx.kill('SIGHUP')
    await eventually(() => !nginx.workers.some((pid) => old.includes(pid)), 'the end of the old workers')
    for (const { client } of clients) expect(old).not.toContain(await worker(client))
  }
  expect(server.connections).toBe(500)
  expect(errors).toEqual([])
})

test('a reload during an answer: it is finished, and the old worker ends', async () => {
  const nginx = await AdoptingNginx.start(single)
  const { server } = await nginx.agent()
  const { client, closed } = await adoptClient(server)
  await client.send(get('/huge'))
  await client.until(() => client.received.length > 0)
  const old = nginx.workers
  nginx.kill('SIGHUP')
  await eventually(() => nginx.workers.some((pid) => !old.includes(pid)), 'a new worker')
  expect((await client.response()).body.length).toBe(16 << 20)
  await eventually(() => !nginx.workers.some((pid) => old.includes(pid)), 'the end of the old worker')
  client.close()
  await closed
})

test('a worker without room takes what is given when it has room again', async () => {
  const nginx = await AdoptingNginx.start({ main: [...single.main, 'events { worker_connections 16; }'] })
  const { server } = await nginx.agent()
  const busy = await Promise.all(Array.from({ length: 6 }, () => adoptClient(server)))
  for (const { client } of busy) {
    client.pause()
    await client.send(get('/large'))
  }
  const more = Array.from({ length: 12 }, () => adoptClient(server))
  for (const { client } of busy) client.resume()
  for (const { client } of busy) expect((await client.response()).body.length).toBe(4 << 20)
  // nginx makes room by closing idle ones.
  expect((await Promise.all(more)).length).toBe(12)
  expect(await worker((await Promise.all(more)).at(-1)?.client as RawClient)).toBeGreaterThan(0)
  expect(nginx.errorLog).not.toContain('[crit]')
  nginx.expectAlerts()
})

test('many adoptions leave nothing behind', async () => {
  const nginx = await AdoptingNginx.start(single)
  const { server, errors } = await nginx.agent()
  const [pid = 0] = nginx.workers
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  const round = async () => {
    const clients = await Promise.all(Array.from({ length: 100 }, () => adoptClient(server)))
    for (const { client, connection } of clients) {
      await worker(client)
      ;(await connection.suspend())?.resume()
    }
    for (const { client, closed } of clients) {
      await worker(client)
      client.close()
      await closed
    }
  }
  for (let index = 0; index < 3; index++) await round()
  await eventually(() => server.connections === 0)
  const before = [descriptors(pid), memory()] as const
  for (let index = 0; index < 20; index++) await round()
  await eventually(() => descriptors(pid) <= before[0], 'the number of descriptors')
  expect(memory()).toBeLessThan(before[1] + 512)
  expect(errors).toEqual([])
}, 120_000)

/** valgrind's words about the worker that has served these requests. */
async function valgrind(options: AdoptingNginxOptions, requests: (nginx: AdoptingNginx) => Promise<void>) {
  const directory = mkdtempSync(join(tmpdir(), 'xoffload-valgrind-'))
  afterTest(() => rmSync(directory, { recursive: true }))
  chmodSync(directory, 0o777)
  const leaks = ['--leak-check=full', '--show-leak-kinds=definite,indirect', '--errors-for-leak-kinds=none']
  const command = ['valgrind', '--vgdb=no', '--trace-children=yes', ...leaks, `--log-file=${directory}/%p`]
  const nginx = await AdoptingNginx.start({ ...options, command })
  const [pid] = nginx.workers
  await requests(nginx)
  expect(await nginx.quit()).toBe(0)
  return readFileSync(join(directory, `${pid}`), 'latin1')
}

test('valgrind finds no error, and no leak of the module', async () => {
  const report = await valgrind(single, async (nginx) => {
    const { server } = await nginx.agent()
    for (let index = 0; index < 10; index++) {
      const { client, connection, closed } = await adoptClient(server, {
        route: () => (index % 3 === 0 ? 'suspend' : { milliseconds: 10 }),
        onSuspended: (suspended) => suspended.resume(),
      })
      await worker(client)
      ;(await connection.suspend())?.resume()
      await worker(client)
      if (index % 2 === 0) client.close()
      else connection.terminate()
      await closed
    }
    // One that is returned when the worker ends, and one of an agent that is gone.
    await worker((await adoptClient(server)).client)
    server.close()
    const next = await nginx.agent()
    await worker((await adoptClient(next.server)).client)
  })
  expect(report).toContain('ERROR SUMMARY: 0 errors')
  expect(report).not.toContain('xoffload_')
}, 120_000)
