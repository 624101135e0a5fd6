// nginx as the gateway, while servers, gateway process and nginx come and go: clients notice nothing.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import type { NginxRequest } from '../../src/deployment/nginx-gateway.ts'
import { buildNginxModule } from '../../src/deployment/nginx-module.ts'
import { command } from '../../src/deployment/programs.ts'
import { wrk } from '../../src/peers/wrk.ts'
import type { Step } from '../../src/soak/scripted-client.ts'
import { errorsOf, NginxFronted } from './nginx-gateway-hosts.ts'

setDefaultTimeout(120_000)
beforeAll(() => buildNginxModule(), 300_000)

const SERVERS = ['server1', 'server2']
const ask = (start: number): Step[] => [{ send: [{ kind: 'memory', start, length: 50_000 }] }, { answers: true }]
/** Four requests, and whatever the test does in between. */
const STEPS: readonly Step[] = [
  ...[1, 2, 3].flatMap((start): Step[] => [...ask(start), { signal: true }]),
  ...ask(4),
  { close: 'half' },
  { fin: true },
]

let fronted: NginxFronted
afterEach(() => fronted?.[Symbol.asyncDispose]())

/** Connections that stay for a while, and connections that come and go, until the load is ended: then no client has seen an error. */
function load(): { end(): Promise<void> } {
  const url = `${fronted.url}/memory/1/1000`
  let ended = false
  const run = async (headers: Readonly<Record<string, string>>): Promise<void> => {
    while (!ended) {
      const result = await wrk(fronted.client, { url, duration: 1, connections: 8, timeout: 20, headers })
      expect([result.requests > 0, errorsOf(result)]).toEqual([true, 0])
    }
  }
  const runs = Promise.all([{}, { Connection: 'close' }].map(run))
  // It is awaited when the load is ended.
  runs.catch(() => {})
  return {
    async end() {
      ended = true
      await runs
    },
  }
}

function isOther(name: string): string {
  return SERVERS.find((other) => other !== name) ?? ''
}

test('a connection moves, comes back to the gateway process when its server is drained, and goes on from there', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS })
  const { hosts } = fronted
  const client = hosts.client(STEPS)
  await client.reached(2)
  const local = await client.local
  const first = (await fronted.serverOf(local)) ?? ''
  expect(await hosts.move(local, isOther(first))).toMatchObject({ result: 'handed-off' })
  client.goOn()
  await client.reached(5)
  await hosts.order('POST', `servers/${isOther(first)}/drain`)
  await hosts.handedOff(local, 3)
  client.goOn()
  await client.reached(8)
  client.goOn()
  expect(await client.report()).toEqual({ servedBy: [first, isOther(first), first, first] })
  await hosts.handedOff(local, 4)
  expect(hosts.handoffs(local)).toEqual([
    `gateway-to-server ${first} handed-off`,
    `server-to-server ${isOther(first)} handed-off`,
    'server-to-gateway gateway handed-off',
    `gateway-to-server ${first} handed-off`,
  ])
  expect(fronted.nginx.requests.map(({ uri }) => uri)).toEqual(['/', '/memory/1/50000'])
})

test('a server that is drained under load is given nothing more, also not by proxying', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS, parameters: 'fail_timeout=60s' })
  const { hosts } = fronted
  await fronted.leavesNothing(async () => {
    const clients = load()
    await fronted.until(async () => ((await hosts.connections()).server1 ?? 0) > 2)
    await hosts.order('POST', 'servers/server1/drain')
    await fronted.logged('refused', 1)
    await fronted.until(async () => (await hosts.connections()).server1 === 0)
    const handedOff = fronted.count('handed-off')
    await fronted.logged('handed-off', handedOff + 20)
    expect((await hosts.connections()).server1).toBe(0)
    await clients.end()
    await hosts.order('DELETE', 'servers/server1/drain')
  })
  const refused = fronted.nginx.requests.filter(({ outcome }) => outcome === 'refused')
  for (const { status, reason } of refused) expect([status, reason]).toEqual([200, 'server1 is being drained'])
  // nginx has passed it over since: as many as it has tried before it knew.
  expect(refused.length).toBeLessThan(20)
})

test('another gateway process takes over under load, again and again', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS, nginx: { workers: 2 } })
  const client = fronted.hosts.client(STEPS)
  await client.reached(2)
  const local = await client.local
  const first = (await fronted.serverOf(local)) ?? ''
  const clients = load()
  for (let round = 0; round < 3; round++) {
    await fronted.logged('handed-off', fronted.count('handed-off') + 20)
    const before = fronted.hosts.gateway
    await fronted.startGateway('--take-over')
    expect(await before.exited).toBe(0)
  }
  await fronted.logged('handed-off', fronted.count('handed-off') + 20)
  await clients.end()
  await fronted.until(async () => (await fronted.serverOf(local)) === first)
  client.goOn()
  await client.reached(5)
  expect(await fronted.hosts.move(local, isOther(first))).toMatchObject({ result: 'handed-off' })
  client.goOn()
  await client.reached(8)
  client.goOn()
  expect(await client.report()).toEqual({ servedBy: [first, first, isOther(first), isOther(first)] })
  expect(fronted.count('lost')).toBe(0)
  expect(fronted.nginx.complaints).toEqual([])
  await fronted.until(() => fronted.rules('gateway') === 0)
})

test('a gateway process that is killed: nginx proxies, connections that are steered go on, and the next process takes more', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS })
  const { hosts } = fronted
  const client = hosts.client(STEPS)
  await client.reached(2)
  const local = await client.local
  const first = (await fronted.serverOf(local)) ?? ''
  hosts.gateway.signal('SIGKILL')
  await hosts.gateway.exited
  for (let count = 0; count < 3; count++)
    expect(await fronted.curl('-i', `${fronted.url}/memory/1/10`)).toMatch(/^HTTP\/1.1 200 OK\r\nServer: nginx/)
  await fronted.logged('unavailable', 3)
  client.goOn()
  await client.reached(5)
  await fronted.startGateway()
  await fronted.until(async () => (await fronted.serverOf(local)) === first)
  await fronted.until(async () => {
    await fronted.curl(`${fronted.url}/memory/1/10`)
    return fronted.count('handed-off') > 2
  })
  client.goOn()
  await client.reached(8)
  client.goOn()
  expect(await client.report()).toEqual({ servedBy: [first, first, first, first] })
  await fronted.until(() => fronted.rules('gateway') === 0)
})

test('a process that cannot make its socket takes nothing over', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS })
  const { gatewayFile, gateway } = fronted.hosts
  editConfiguration(gatewayFile, (config) => Object.assign(config, { nginx: { socket: '/nowhere/nginx.sock' } }))
  const run = [process.execPath, command, 'gateway', '-c', gatewayFile, '--take-over'] as const
  const { exitCode, stderr } = await fronted.gatewayHost.run([...run], { allowFailure: true, timeout: 60_000 })
  expect([exitCode, stderr.trim().split('\n').length]).toEqual([1, 1])
  expect(stderr).toContain('nginx.socket: /nowhere must be a folder of this user')
  await fronted.curl(`${fronted.url}/memory/1/10`)
  await fronted.logged('handed-off', 2)
  expect(gateway.running).toBe(true)
})

test('a gateway process that ends in order leaves nginx as it would be alone', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS })
  expect(await fronted.hosts.gateway.stop({ timeout: 10_000 })).toBe(0)
  expect(await fronted.curl('-i', `${fronted.url}/memory/1/10`)).toMatch(/^HTTP\/1.1 200 OK\r\nServer: nginx/)
  await fronted.logged('unavailable', 1)
  expect(fronted.rules('gateway')).toBe(0)
})

test('nginx reads its configuration again under load', async () => {
  fronted = await NginxFronted.start({ servers: SERVERS })
  await fronted.leavesNothing(async () => {
    const clients = load()
    for (let round = 0; round < 3; round++) {
      await fronted.logged('handed-off', fronted.count('handed-off') + 20)
      const before = fronted.nginx.workers
      fronted.nginx.reload()
      await fronted.until(() => !fronted.nginx.workers.some((pid) => before.includes(pid)))
    }
    await fronted.logged('handed-off', fronted.count('handed-off') + 20)
    await clients.end()
  })
  expect(fronted.count('lost')).toBe(0)
  expect(fronted.nginx.complaints).toEqual([])
})

test('with selection "gateway" the module of the gateway chooses, whatever nginx would', async () => {
  fronted = await NginxFronted.start({
    servers: SERVERS,
    table: { selection: 'gateway' },
    selection: (directory) => {
      const module = join(directory, 'select.mjs')
      writeFileSync(module, SELECT)
      return { policy: 'module', module }
    },
  })
  const servedBy = async (...args: string[]) =>
    /x-served-by: (\S+)/.exec(await fronted.curl('-i', ...args, `${fronted.url}/memory/1/10`))?.[1]
  for (const name of [...SERVERS, ...SERVERS]) expect(await servedBy('-H', `X-Server: ${name}`)).toBe(name)
  expect(await fronted.curl('-i', '-H', 'X-Server: none', `${fronted.url}/memory/1/10`)).toContain('Server: nginx')
  expect(await fronted.curl('-i', '-H', 'X-Server: throw', `${fronted.url}/memory/1/10`)).toContain('Server: nginx')
  const isRefused = ({ uri, outcome }: NginxRequest) => uri !== '/' && outcome === 'refused'
  const reasons = () => fronted.nginx.requests.filter(isRefused).map(({ reason }) => reason)
  await fronted.until(() => reasons().length === 2)
  expect(reasons()).toEqual(['no server takes connections', 'no server could be selected'])
  // It is asked the same for what comes to the gateway process itself.
  const { hosts } = fronted
  const client = hosts.client(STEPS)
  await client.reached(2)
  const local = await client.local
  expect(await fronted.serverOf(local)).toBe('server1')
  await hosts.order('POST', 'servers/server1/drain')
  await hosts.handedOff(local, 2)
  await goOnAt(client, 5)
  expect(await fronted.serverOf(local)).toBe('server2')
  await goOnAt(client, 8)
  client.goOn()
  expect((await client.report()).servedBy).toEqual(['server1', 'server2', 'server2', 'server2'])
})

async function goOnAt(client: { goOn(): void; reached(step: number): Promise<void> }, step: number): Promise<void> {
  client.goOn()
  await client.reached(step)
}

/** Chooses by a header field; without it the first that is up. */
const SELECT = `
export default (request, servers) => {
  if (request.method !== 'GET' || !request.target.startsWith('/memory/') || request.client.port === 0) throw new Error('what?')
  const wanted = request.header('x-server')
  if (wanted === 'throw') throw new Error('as it was told')
  return wanted === 'none' ? undefined : wanted ?? servers[0]
}
`
