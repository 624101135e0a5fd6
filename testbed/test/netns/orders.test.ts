/** What an operator orders, through the control API of a real gateway: connections move, and their clients notice nothing. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { ControlApiError } from '../../src/deployment/control-api.ts'
import type { PlannedRequest } from '../../src/soak/plan.ts'
import type { Step } from '../../src/soak/scripted-client.ts'
import { MovingHosts, type ScriptedClient, until } from './moving-hosts.ts'

const TIMEOUT = 60_000
const SERVERS = ['server1', 'server2', 'server3']

const get = (start: number): PlannedRequest => ({ kind: 'memory', start, length: 1000 })
/** A request and its answer, and then whatever the test says. */
const ask = (start: number): Step[] => [{ send: [get(start)] }, { answers: true }]
const end: readonly Step[] = [{ close: 'half' }, { fin: true }]

let hosts: MovingHosts

beforeAll(async () => {
  hosts = await MovingHosts.start({ servers: SERVERS, selection: () => ({ policy: 'least-connections' }) })
}, TIMEOUT)
afterAll(() => hosts?.[Symbol.asyncDispose]())

/** The server that has the client's connection, by the gateway's word. */
async function serverOf(client: ScriptedClient): Promise<string> {
  const flow = encodeURIComponent(hosts.flow(await client.local))
  return ((await hosts.order('GET', `flows/${flow}`)) as { server: string }).server
}

/** One that it is not at. */
const otherThan = (server: string): string => SERVERS.find((name) => name !== server) ?? ''

async function expectRight(client: ScriptedClient, servers: readonly string[]): Promise<void> {
  expect(await client.report()).toEqual({ servedBy: servers })
}

test(
  'an idle connection moves at once, and its next request is answered where it is then',
  () =>
    hosts.leavesNothing(async () => {
      const client = hosts.client([...ask(1), { signal: true }, ...ask(2), ...end])
      await client.reached(2)
      const server = await serverOf(client)
      const target = otherThan(server)
      expect(await hosts.move(await client.local, target)).toMatchObject({ result: 'handed-off' })
      expect(await serverOf(client)).toBe(target)
      client.goOn()
      await expectRight(client, [server, target])
      await hosts.handedOff(await client.local, 2)
      expect(hosts.handoffs(await client.local)).toEqual([
        `gateway-to-server ${server} handed-off`,
        `server-to-server ${target} handed-off`,
      ])
    }),
  TIMEOUT,
)

test(
  'an idle connection of a drained server waits at the gateway, and its next request goes to another server',
  () =>
    hosts.leavesNothing(async () => {
      const client = hosts.client([...ask(1), { signal: true }, ...ask(2), ...end], hosts.addresses.ipv6)
      await client.reached(2)
      const server = await serverOf(client)
      await hosts.order('POST', `servers/${server}/drain`)
      await until(async () => (await hosts.connections())[server] === 0)
      await hosts.handedOff(await client.local, 2)
      expect(hosts.handoffs(await client.local).at(-1)).toBe('server-to-gateway gateway handed-off')
      client.goOn()
      const { servedBy, violation } = await client.report()
      await hosts.order('DELETE', `servers/${server}/drain`)
      expect(violation).toBeUndefined()
      expect(servedBy).toHaveLength(2)
      expect(servedBy[1]).not.toBe(server)
    }),
  TIMEOUT,
)

test(
  'a response that another server can continue moves in its middle, any other at its end',
  () =>
    hosts.leavesNothing(async () => {
      for (const [kind, length] of [
        ['slow', 4_000_000],
        ['memory', 1_000_000],
      ] as const) {
        const client = hosts.client([
          { send: [{ kind, start: 3, length }] },
          { signal: true },
          { answers: true },
          ...ask(4),
          ...end,
        ])
        await client.reached(1)
        const local = await client.local
        await hosts.handedOff(local, 1)
        const server = await serverOf(client)
        const target = otherThan(server)
        expect(await hosts.move(local, target)).toMatchObject({ result: 'handed-off' })
        client.goOn()
        await expectRight(client, [server, target])
      }
    }),
  TIMEOUT,
)

test(
  'an upload that is under way keeps its connection until it is answered',
  () =>
    hosts.leavesNothing(async () => {
      const upload: PlannedRequest = { kind: 'upload', start: 1, length: 300_000, chunked: false }
      const client = hosts.client([
        { send: [upload], keep: 10_000 },
        { signal: true },
        { rest: true },
        { answers: true },
        { signal: true },
        ...ask(2),
        ...end,
      ])
      await client.reached(1)
      const local = await client.local
      await hosts.handedOff(local, 1)
      const server = await serverOf(client)
      const target = otherThan(server)
      await expect(hosts.move(local, target, 300)).rejects.toMatchObject({ refusal: 'timeout' })
      const moved = hosts.move(local, target)
      client.goOn()
      expect(await moved).toMatchObject({ result: 'handed-off' })
      await client.reached(4)
      client.goOn()
      await expectRight(client, [server, target])
    }),
  TIMEOUT,
)

test(
  'a connection whose client has closed its half stays, and its answer comes',
  () =>
    hosts.leavesNothing(async () => {
      const client = hosts.client([
        { send: [{ kind: 'slow', start: 3, length: 200_000 }] },
        { close: 'half' },
        { signal: true },
        { answers: true },
        { fin: true },
      ])
      await client.reached(2)
      await hosts.handedOff(await client.local, 1)
      const server = await serverOf(client)
      const moved = hosts.move(await client.local, otherThan(server), 2000).catch((error) => error)
      client.goOn()
      await expectRight(client, [server])
      expect(await moved).not.toMatchObject({ result: 'handed-off' })
    }),
  TIMEOUT,
)

test(
  'an order that is given up changes nothing, and another one is carried out',
  () =>
    hosts.leavesNothing(async () => {
      const client = hosts.client([
        { send: [{ kind: 'upload', start: 0, length: 100_000, chunked: true }], keep: 10 },
        { signal: true },
        { rest: true },
        { answers: true },
        ...end,
      ])
      await client.reached(1)
      const local = await client.local
      await hosts.handedOff(local, 1)
      const server = await serverOf(client)
      const [target = '', third = ''] = SERVERS.filter((name) => name !== server)
      const controller = new AbortController()
      const given = hosts.move(local, target, 10_000, controller.signal)
      await expect(hosts.move(local, third)).rejects.toMatchObject({ refusal: 'busy' })
      controller.abort()
      await expect(given).rejects.toThrow()
      await until(async () => {
        const error = await hosts.move(local, third, 50).catch((reason) => reason)
        return error instanceof ControlApiError && error.refusal === 'timeout'
      })
      client.goOn()
      await expectRight(client, [server])
    }),
  TIMEOUT,
)

test(
  'rebalancing moves connections from the servers that have more than their share',
  () =>
    hosts.leavesNothing(async () => {
      for (const name of SERVERS.slice(1)) await hosts.order('POST', `servers/${name}/drain`)
      const clients = Array.from({ length: 6 }, () => hosts.client([...ask(1), { signal: true }, ...ask(2), ...end]))
      for (const client of clients) await client.reached(2)
      for (const name of SERVERS.slice(1)) await hosts.order('DELETE', `servers/${name}/drain`)
      expect(await hosts.connections()).toEqual({ server1: 6, server2: 0, server3: 0 })
      expect(await hosts.order('POST', 'rebalance')).toEqual({ asked: 4 })
      await until(async () => Object.values(await hosts.connections()).every((count) => count === 2))
      for (const client of clients) client.goOn()
      const answered = await Promise.all(clients.map((client) => client.report()))
      expect(answered.map(({ violation }) => violation)).toEqual(clients.map(() => undefined))
      expect(answered.map(({ servedBy }) => servedBy[1]).toSorted()).toEqual([...SERVERS, ...SERVERS].toSorted())
    }),
  TIMEOUT,
)

test(
  'a client that resets its connection while the server is asked for it',
  () =>
    hosts.leavesNothing(async () => {
      const client = hosts.client([...ask(1), { signal: true }, { close: 'reset' }])
      await client.reached(2)
      const server = await serverOf(client)
      const host = hosts.servers[SERVERS.indexOf(server)]
      host?.signal('SIGSTOP')
      const moved = hosts.move(await client.local, otherThan(server)).catch((error) => error)
      client.goOn()
      await client.report()
      host?.signal('SIGCONT')
      expect(await moved).not.toMatchObject({ result: 'handed-off' })
    }),
  TIMEOUT,
)
