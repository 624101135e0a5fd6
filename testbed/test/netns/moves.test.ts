/** Connections that move on because a server yields them: after some requests, or because of what is asked for. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PlannedRequest } from '../../src/soak/plan.ts'
import type { Step } from '../../src/soak/scripted-client.ts'
import { MovingHosts, until } from './moving-hosts.ts'

const TIMEOUT = 60_000
const SERVERS = ['server1', 'server2', 'server3']

const get = (start: number, length = 1000): PlannedRequest => ({ kind: 'memory', start, length })
const upload = (length: number, chunked: boolean): PlannedRequest => ({ kind: 'upload', start: 5, length, chunked })
const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at))

let hosts: MovingHosts

/** What a client sees that has these requests answered one after the other. */
async function servedBy(steps: readonly Step[], address?: string): Promise<readonly string[]> {
  return hosts.leavesNothing(async () => {
    const { servedBy, violation } = await hosts.client([...steps, { close: 'half' }, { fin: true }], address).report()
    expect(violation).toBeUndefined()
    return servedBy
  })
}

function expectAlternating(servers: readonly string[]): void {
  for (const [index, server] of servers.entries()) expect(server).not.toBe(servers[index + 1] ?? '')
}

describe('after every request', () => {
  beforeAll(async () => {
    hosts = await MovingHosts.start({ servers: SERVERS, moves: () => ({ requests: 1 }) })
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  test(
    'a connection moves to the next server, over IPv4 and IPv6',
    async () => {
      for (const address of [hosts.addresses.ipv4, hosts.addresses.ipv6]) {
        const servers = await servedBy(
          times(12, get).flatMap((request) => [{ send: [request] }, { answers: true }]),
          address,
        )
        expect(servers).toHaveLength(12)
        expectAlternating(servers)
      }
    },
    TIMEOUT,
  )

  test(
    'also with large responses',
    async () => {
      const steps = times(12, (at) => get(at, 1_500_000)).flatMap((request): Step[] => [
        { send: [request] },
        { answers: true },
      ])
      expect(new Set(await servedBy(steps))).toEqual(new Set(SERVERS))
    },
    TIMEOUT,
  )

  test(
    'and takes the requests with it that were pipelined',
    async () => {
      const servers = await servedBy([{ send: times(10, (at) => get(at, 30_000)) }, { answers: true }])
      expect(servers).toHaveLength(10)
      expectAlternating(servers)
    },
    TIMEOUT,
  )

  test.each([
    ['a length, whole in memory', 40_000, false],
    ['a length', 400_000, false],
    ['chunks', 400_000, true],
  ])(
    'and an upload that is under way, with %s',
    async (_name, length, chunked) => {
      const servers = await servedBy([
        { send: [get(0), upload(length, chunked), get(1)], keep: 20_000 },
        { rest: true },
        { answers: true },
      ])
      expect(servers).toHaveLength(3)
      expectAlternating(servers)
    },
    TIMEOUT,
  )

  test(
    'a client that has closed its half gets all its answers',
    async () => {
      const steps: Step[] = [{ send: [get(0), get(1, 300_000), get(2), upload(100_000, true)] }]
      expect(await servedBy([...steps, { close: 'half' }, { answers: true }])).toHaveLength(4)
    },
    TIMEOUT,
  )

  test(
    'a client that closes its half while the connection waits to be moved gets all its answers',
    async () => {
      await hosts.leavesNothing(async () => {
        const client = hosts.client([
          { send: [get(0)] },
          { answers: true },
          { signal: true },
          { send: [get(1), get(2, 100_000)] },
          { signal: true },
          { close: 'half' },
          { signal: true },
          { answers: true },
          { fin: true },
        ])
        await client.reached(2)
        await hosts.handedOff(await client.local, 1)
        // The server offers the connection, and hears nothing for a while.
        hosts.gateway.signal('SIGSTOP')
        client.goOn()
        await client.reached(4)
        await until(() => hosts.hasUnreadControlMessages())
        client.goOn()
        await client.reached(6)
        hosts.gateway.signal('SIGCONT')
        client.goOn()
        const { servedBy, violation } = await client.report()
        expect(violation).toBeUndefined()
        expect(servedBy).toHaveLength(3)
      })
    },
    TIMEOUT,
  )

  test(
    'a client that resets the connection while it moves leaves nothing',
    async () => {
      await hosts.leavesNothing(async () => {
        for (let round = 0; round < 20; round++) {
          const { violation } = await hosts.client([{ send: times(1 + (round % 5), get) }, { close: 'reset' }]).report()
          expect(violation).toBeUndefined()
        }
      })
    },
    TIMEOUT,
  )
})

describe('when there is no other server', () => {
  beforeAll(async () => {
    hosts = await MovingHosts.start({ servers: ['server1'], moves: () => ({ requests: 1 }) })
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  test.each([
    ['a length, whole in memory', 40_000, false],
    ['a length', 400_000, false],
    ['chunks', 400_000, true],
  ])(
    'a connection stands for a moment and goes on with an upload that is under way, with %s',
    async (_name, length, chunked) => {
      const servers = await servedBy([
        { send: [get(0), upload(length, chunked), get(1)], keep: length / 2 },
        { answers: true, missing: 2 },
        { rest: true },
        { answers: true },
      ])
      expect(servers).toEqual(['server1', 'server1', 'server1'])
    },
    TIMEOUT,
  )
})

describe('when another server is to answer', () => {
  beforeAll(async () => {
    hosts = await MovingHosts.start({
      servers: ['server1', 'server2'],
      moves: (server, directory) => {
        // The ramp from 1 on belongs to server1, that from 2 on to server2, and all others to whoever has the connection.
        const other = server === 'server1' ? 2 : 1
        return { module: write(directory, `export default ({ target }) => !target.startsWith('/memory/${other}/')`) }
      },
      selection: (directory) => ({
        policy: 'module',
        module: write(
          directory,
          "export default ({ target }) => (target.startsWith('/memory/2/') ? 'server2' : 'server1')",
        ),
      }),
    })
  }, TIMEOUT)
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  test(
    'what is asked for decides where the connection goes, and nothing else',
    async () => {
      const starts = [1, 1, 2, 3, 2, 1, 3, 3, 2]
      const owners = ['server1', 'server1', 'server2', 'server2', 'server2', 'server1', 'server1', 'server1', 'server2']
      const one = starts.flatMap((start): Step[] => [{ send: [get(start)] }, { answers: true }])
      expect(await servedBy(one)).toEqual(owners)
      expect(await servedBy([{ send: starts.map((start) => get(start, 50_000)) }, { answers: true }])).toEqual(owners)
    },
    TIMEOUT,
  )
})

function write(directory: string, text: string): string {
  const file = join(directory, 'decision.mjs')
  writeFileSync(file, `${text}\n`)
  return file
}
