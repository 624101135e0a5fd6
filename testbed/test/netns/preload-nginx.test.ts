// Stock nginx serves connections that it is given, in every way of accepting that it has, and through what happens to its processes.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Host, reportOf, startAdoptingAgent, Testbed, type WrkResult, wrk } from '@xoffload/testbed'
import {
  type AdoptingNginx,
  adoptingNginx,
  complaintsOf,
  descriptorsOf,
  eventually,
  workersOf,
} from './adopting-nginx.ts'

let testbed: Testbed
let client: Host
let server: Host

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'server'] })
  client = testbed.host('client')
  server = testbed.host('server')
})

afterAll(() => testbed.close())

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await client.run(['curl', '-sS', '--max-time', '20', ...args], { timeout: 30_000 })
  return stdout
}

function load({ url }: AdoptingNginx, path: string, connections = 32): Promise<WrkResult> {
  return wrk(client, { url: `${url}${path}`, duration: 1, connections, timeout: 20 })
}

function errorsOf({ socketErrors, non2xx }: WrkResult): number {
  return Object.values(socketErrors).reduce((sum, count) => sum + count, non2xx)
}

describe.each([
  ['two workers', {}],
  ['accept_mutex', { events: ['accept_mutex on;', 'accept_mutex_delay 10ms;'] }],
  ['multi_accept', { events: ['multi_accept on;'] }],
  ['reuseport', { flags: 'reuseport' }],
  ['deferred', { flags: 'deferred' }],
  ['one worker', { workers: 1 }],
  ['threads', { http: ['aio threads;'] }],
])('nginx with %s', (_, options) => {
  test('serves what it is given', async () => {
    await using setup = await adoptingNginx(server, options)
    const result = await load(setup, '/1k')
    expect([result.requests > 100, errorsOf(result)]).toEqual([true, 0])
    const { adopted, failed } = await reportOf(setup.agent)
    expect(adopted).toBeGreaterThanOrEqual(32)
    expect([failed, complaintsOf(setup.nginx)]).toEqual([0, []])
  }, 60_000)

  test('gives them back and takes them again between requests', async () => {
    await using setup = await adoptingNginx(server, { ...options, every: 3 })
    const result = await load(setup, '/1m', 16)
    expect([result.requests > 20, errorsOf(result)]).toEqual([true, 0])
    const { takenBack, failed } = await reportOf(setup.agent)
    expect(takenBack).toBeGreaterThan(result.requests / 6)
    expect([failed, complaintsOf(setup.nginx)]).toEqual([0, []])
  }, 60_000)
})

test('a reload: no request fails, and the new workers take over', async () => {
  await using setup = await adoptingNginx(server)
  const before = workersOf(setup.nginx)
  const running = wrk(client, { url: `${setup.url}/1k`, duration: 3, connections: 16, timeout: 20 })
  for (let count = 0; count < 3; count += 1) {
    const { adopted } = await reportOf(setup.agent)
    process.kill(setup.nginx.pid, 'SIGHUP')
    const after = adopted
    await eventually(async () => (await reportOf(setup.agent)).adopted > after)
  }
  const result = await running
  expect(result.socketErrors.timeout).toBe(0)
  expect(result.non2xx).toBe(0)
  await eventually(() => workersOf(setup.nginx).every((pid) => !before.includes(pid)))
  expect((await curl(`${setup.url}/1k`)).length).toBeGreaterThan(0)
  expect(complaintsOf(setup.nginx)).toEqual([])
}, 60_000)

test('a worker is killed: its connections end, and others go on', async () => {
  await using setup = await adoptingNginx(server)
  await load(setup, '/1k')
  const [first = 0] = workersOf(setup.nginx)
  process.kill(first, 'SIGKILL')
  await eventually(() => !workersOf(setup.nginx).includes(first))
  const result = await load(setup, '/1k')
  expect([result.requests > 100, errorsOf(result)]).toEqual([true, 0])
  await eventually(async () => (await reportOf(setup.agent)).open === 0)
}, 60_000)

test('the agent is killed: nginx goes on, and so it does with the next agent', async () => {
  await using setup = await adoptingNginx(server)
  const running = wrk(client, { url: `${setup.url}/1k`, duration: 2, connections: 16, timeout: 20 })
  await eventually(async () => (await reportOf(setup.agent)).open >= 16)
  setup.agent.signal('SIGKILL')
  await setup.agent.exited
  const result = await running
  // What nginx closed after a thousand requests could not be opened again.
  expect(result.requests).toBeGreaterThan(100)
  expect(result.socketErrors.timeout).toBe(0)
  await using agent = await startAdoptingAgent(server, setup.agentOptions)
  const again = await load(setup, '/1k')
  expect(errorsOf(again)).toBe(0)
  expect((await reportOf(agent)).adopted).toBeGreaterThanOrEqual(32)
}, 60_000)

test('the agent hangs: nginx serves what it has, and its own connections', async () => {
  await using setup = await adoptingNginx(server, { every: 1_000_000 })
  const running = wrk(client, { url: `${setup.url}/1k`, duration: 3, connections: 4, timeout: 20 })
  await eventually(async () => (await reportOf(setup.agent)).open >= 4)
  setup.agent.signal('SIGSTOP')
  const own = await server.run(
    ['curl', '-sS', '--max-time', '20', '-o', '/dev/null', `http://127.0.0.1:${setup.port}/1m`],
    {
      timeout: 30_000,
    },
  )
  expect(own.exitCode).toBe(0)
  const result = await running
  expect(result.socketErrors.timeout).toBe(0)
  setup.agent.signal('SIGCONT')
  expect(errorsOf(await load(setup, '/1k'))).toBe(0)
}, 60_000)

test('descriptors stay the same over thousands of connections', async () => {
  await using setup = await adoptingNginx(server)
  const round = () =>
    wrk(client, { url: `${setup.url}/1k`, duration: 1, connections: 32, headers: { Connection: 'close' } })
  await round()
  await eventually(async () => (await reportOf(setup.agent)).open === 0)
  const count = () => [setup.agent.pid, ...workersOf(setup.nginx)].map(descriptorsOf)
  const before = count()
  await round()
  await eventually(async () => (await reportOf(setup.agent)).open === 0)
  await eventually(() => count().every((descriptors, index) => descriptors <= (before[index] ?? 0)))
  const { adopted, failed } = await reportOf(setup.agent)
  expect([adopted > 200, failed]).toEqual([true, 0])
}, 60_000)
