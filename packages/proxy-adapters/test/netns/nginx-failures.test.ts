// nginx as the gateway, and everything that can go wrong with the process that is to hand its connections off.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
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
import type { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

const refuse = () => ({ result: 'refused', reason: 'not today' }) as const

/** One worker, so that it is always the same one, and limits that a test can wait for. */
const limits = { main: ['worker_processes 1;'], http: ['xoffload_timeout 300ms;', 'xoffload_handoff_timeout 700ms;'] }

async function ask(client: RawClient, path: string): Promise<string> {
  await client.send(get(path))
  const { status, body } = await client.response()
  return `${status} ${body}`
}

/** A gateway process of its own, on its path. */
async function gatewayProcess(nginx: Nginx): Promise<Bun.Subprocess> {
  const program = join(import.meta.dir, '../nginx/programs/gateway.ts')
  const child = Bun.spawn([process.execPath, program, nginx.socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  afterTest(async () => {
    child.kill('SIGKILL')
    await child.exited
  })
  await child.stdout.getReader().read()
  return child
}

/** Asks until nginx offers connections again, which it does after a pause. */
async function offersAgain(nginx: Nginx): Promise<void> {
  await eventually(async () => {
    const client = await nginx.client()
    await ask(client, '/refuse')
    client.close()
    return nginx.accessLog.some((line) => line.startsWith('/refuse 200 refused'))
  }, 'a gateway that is there again')
}

test('nobody listens: requests are proxied, and the first offer is made when somebody does', async () => {
  const nginx = await Nginx.start(limits)
  const client = await nginx.client()
  expect(await ask(client, '/1')).toBe('200 proxied GET /1 null ')
  expect(await ask(client, '/2')).toBe('200 proxied GET /2 null ')
  await nginx.logged('/1 200 unavailable localhost:PORT "the gateway cannot be reached"')
  await gatewayProcess(nginx)
  await offersAgain(nginx)
})

test('a gateway that says nothing costs one wait, and no answer', async () => {
  const nginx = await Nginx.start(limits)
  const silent = Bun.listen({ unix: nginx.socket, socket: { data: () => {} } })
  afterTest(() => silent.stop(true))
  chmodSync(nginx.socket, 0o666)
  const client = await nginx.client()
  expect(await ask(client, '/1')).toBe('200 proxied GET /1 null ')
  expect(await ask(client, '/2')).toBe('200 proxied GET /2 null ')
  await nginx.logged('/1 200 timed-out localhost:PORT "the gateway process does not take connections"')
  await nginx.logged('/2 200 unavailable localhost:PORT "the gateway cannot be reached"')
})

test('a stopped gateway: all that it has not taken comes back, and is whole', async () => {
  const nginx = await Nginx.start(limits)
  const child = await gatewayProcess(nginx)
  const clients = await Promise.all(Array.from({ length: 50 }, () => nginx.client()))
  for (const client of clients) expect(await ask(client, '/refuse')).toBe('200 proxied GET /refuse null ')
  child.kill('SIGSTOP')
  const answers = await Promise.all(clients.map((client) => ask(client, '/refuse')))
  expect(new Set(answers)).toEqual(new Set(['200 proxied GET /refuse null ']))
  // An answer that ends with the connection does end.
  const last = await nginx.client()
  await last.send('GET /refuse HTTP/1.0\r\n\r\n')
  await last.end()
  expect(last.resetByPeer).toBe(false)
  expect(nginx.accessLog.filter((line) => line.includes(' timed-out ')).length).toBeGreaterThan(0)
  child.kill('SIGCONT')
  for (const client of clients) expect(await ask(client, '/x')).toBe('200 proxied GET /x null ')
})

test('more offers than the queue holds wait until there is room', async () => {
  const nginx = await Nginx.start({
    main: ['worker_processes 1;'],
    http: ['xoffload_timeout 30s;'],
    server: ['location /unoffered { return 404; }'],
  })
  const child = await gatewayProcess(nginx)
  const clients = await Promise.all(Array.from({ length: 400 }, () => nginx.client()))
  const [first] = clients
  if (first !== undefined) expect(await ask(first, '/refuse')).toBe('200 proxied GET /refuse null ')
  child.kill('SIGSTOP')
  const answers = clients.map((client) => ask(client, '/refuse'))
  // nginx has read them all when it answers this one, which it does not offer.
  const last = await nginx.client()
  expect(await ask(last, '/unoffered')).toStartWith('404 ')
  child.kill('SIGCONT')
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['200 proxied GET /refuse null ']))
  await eventually(() => nginx.accessLog.filter((line) => line.startsWith('/refuse 200 refused ')).length === 401)
})

test('an answer that comes after xoffload_timeout is waited for', async () => {
  const nginx = await Nginx.start({ ...limits, http: ['xoffload_timeout 200ms;'] })
  await gatewayProcess(nginx)
  expect(await ask(await nginx.client(), '/late')).toBe('200 proxied GET /late null ')
  await nginx.logged('/late 200 refused localhost:PORT "late"')
})

test('a connection that is never answered is ended', async () => {
  const nginx = await Nginx.start(limits)
  await gatewayProcess(nginx)
  const client = await nginx.client()
  await client.send(get('/never'))
  await client.end()
  await nginx.logged('/never 000 lost localhost:PORT "the gateway process did not answer"')
  expect(await ask(await nginx.client(), '/refuse')).toBe('200 proxied GET /refuse null ')
})

test('the gateway dies with a connection that is not frozen: it is proxied', async () => {
  const nginx = await Nginx.start(limits)
  const child = await gatewayProcess(nginx)
  const client = await nginx.client()
  expect(await ask(client, '/die')).toBe('200 proxied GET /die null ')
  await nginx.logged('/die 200 unavailable localhost:PORT "the gateway process has ended"')
  await child.exited
  await gatewayProcess(nginx)
  await offersAgain(nginx)
})

test.each([
  ['the gateway dies with a frozen connection', '/freeze-and-die', 'the gateway process has ended'],
  ['the gateway refuses a frozen connection', '/refuse-frozen', 'but frozen'],
])('%s: nginx closes it, silently', async (_, path, reason) => {
  const nginx = await Nginx.start(limits)
  await gatewayProcess(nginx)
  const client = await nginx.client()
  await client.send(get(path))
  await nginx.logged(`${path} 000 lost localhost:PORT "${reason}"`)
  const other = await nginx.client()
  expect((await ask(other, '/x')).slice(0, 3)).toBe('200')
  expect(client.ended).toBe(false)
  expect(client.received.length).toBe(0)
})

test('a connection that the gateway calls lost is ended', async () => {
  const nginx = await Nginx.start(limits)
  await gatewayProcess(nginx)
  const client = await nginx.client()
  await client.send(get('/lost'))
  await client.end()
  await nginx.logged('/lost 000 lost localhost:PORT "nobody has it"')
})

test('a handler that throws: the request is proxied, and the error is told', async () => {
  const nginx = await Nginx.start(limits)
  const { errors } = await gateway(nginx, () => {
    throw new Error('broken\nhandler')
  })
  expect(await ask(await nginx.client(), '/1')).toBe('200 proxied GET /1 null ')
  await nginx.logged('/1 200 refused localhost:PORT "broken handler"')
  expect(errors.map(String)).toEqual(['Error: broken\nhandler'])
})

test('workers of a user who is not trusted are refused', async () => {
  const nginx = await Nginx.start(limits)
  const { errors, arrivals } = await gateway(nginx, refuse, { users: [] })
  expect(await ask(await nginx.client(), '/1')).toBe('200 proxied GET /1 null ')
  await eventually(() => errors.length > 0)
  expect(String(errors[0])).toContain('of user 33 connected')
  expect(arrivals).toEqual([])
})

test('more than the gateway deals with at once is refused', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const release = Promise.withResolvers<void>()
  const { server } = await gateway(
    nginx,
    async () => {
      await release.promise
      return refuse()
    },
    { maximumInFlight: 2 },
  )
  const clients = await Promise.all(Array.from({ length: 3 }, () => nginx.client()))
  const answers: string[] = []
  const all = clients.map(async (client) => answers.push(await ask(client, '/1')))
  await eventually(() => answers.length === 1)
  expect(server.inFlight).toBe(2)
  await nginx.logged('/1 200 refused localhost:PORT "the gateway is busy"')
  // What is in flight is answered before the end.
  const closed = server.close()
  release.resolve()
  await Promise.all([closed, ...all])
  expect(answers).toEqual(Array.from({ length: 3 }, () => '200 proxied GET /1 null '))
  expect(nginx.accessLog.filter((line) => line.endsWith('"not today"')).length).toBe(2)
})

test('a server that has failed is not selected again', async () => {
  const nginx = await Nginx.start({
    main: ['worker_processes 1;'],
    http: ['upstream two { server 127.0.0.1:1; server 127.0.0.1:2; }'],
    server: ['location = /two { xoffload_pass two; try_files /missing @here; }', 'location @here { return 204; }'],
  })
  const { arrivals } = await gateway(nginx, ({ address }) => ({
    result: 'refused',
    reason: 'no',
    serverFailed: address === '127.0.0.1:1',
  }))
  const client = await nginx.client()
  for (let index = 0; index < 6; index++) {
    await client.send(get('/two'))
    expect((await client.response()).status).toBe(204)
  }
  expect(arrivals.length).toBe(6)
  expect(arrivals.filter(({ server }) => server === '127.0.0.1:1').length).toBe(1)
})

test('a client that closes after a refusal is noticed, as by nginx alone', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const { server, arrivals } = await gateway(nginx, refuse)
  const client = await nginx.client()
  await client.send(get('/hang'))
  await eventually(() => arrivals.length === 1 && nginx.applicationConnections === 1)
  client.close()
  await nginx.logged('/hang 499 refused localhost:PORT "not today"')
  expect(server.inFlight).toBe(0)
})

test('a client that closes while its connection is with the gateway', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const release = Promise.withResolvers<void>()
  const { arrivals } = await gateway(nginx, async () => {
    await release.promise
    return refuse()
  })
  const client = await nginx.client()
  await client.send(get('/gone'))
  await eventually(() => arrivals.length === 1)
  client.close()
  release.resolve()
  await eventually(() => nginx.accessLog.some((line) => line.startsWith('/gone ')))
  expect(await ask(await nginx.client(), '/1')).toBe('200 proxied GET /1 null ')
})
