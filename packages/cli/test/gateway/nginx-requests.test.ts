// What the gateway answers nginx, and what becomes of the descriptor.
import { expect, test } from 'bun:test'
import { FlowKey, type HandoffOutcome, MacAddress, serviceFilter } from '@xoffload/core'
import type { NginxArrival } from '@xoffload/proxy-adapters/nginx'
import type { Handoff, Handoffs } from '../../src/gateway/handoffs.ts'
import { Journal } from '../../src/gateway/journal.ts'
import { NginxPeers } from '../../src/gateway/nginx-peers.ts'
import { NginxRequests, type NginxRequestsOptions } from '../../src/gateway/nginx-requests.ts'
import { Selection } from '../../src/gateway/selection.ts'
import { Server } from '../../src/gateway/server.ts'
import type { LogEvent } from '../../src/runtime/log.ts'

const SERVICE = { address: '198.51.100.1', port: 80 }
const HEAD = 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'

/** A gateway with two servers that are connected; `outcome` is that of its handoffs. */
function gateway(
  outcome: Partial<HandoffOutcome> | (() => Promise<Partial<HandoffOutcome>>),
  options: Partial<NginxRequestsOptions> = {},
) {
  const servers = ['s1', 's2'].map((name, index) => new Server(name, { address: `10.0.0.${index + 1}`, port: 80 }))
  for (const server of servers) connect(server)
  const events: LogEvent[] = []
  const log = (_: unknown, event: LogEvent): void => void events.push(event)
  const handedOff: Handoff[] = []
  const handoffs = {
    handOff: async (handoff: Handoff) => {
      handedOff.push(handoff)
      const made = typeof outcome === 'function' ? await outcome() : outcome
      if (made.result === 'handed-off') handoff.arrived()
      return made
    },
  } as unknown as Handoffs
  const requests = new NginxRequests({
    choice: 'nginx',
    selection: new Selection((_, candidates) => candidates.findLast(({ up }) => up), servers),
    peers: new NginxPeers([], servers),
    handoffs,
    serves: serviceFilter([SERVICE]),
    recovery: { isUndecided: () => false },
    limits: { headBytes: 4096, connections: 2 },
    journal: new Journal(log),
    log,
    ...options,
  })
  return { requests, servers, handedOff, events }
}

function connect(server: Server): void {
  const channel = { host: server.name, connected: true, send: () => {} }
  const mac = MacAddress.parse('02:00:00:00:00:01')
  const hello = { type: 'hello', protocolVersion: 2, host: server.name, mac, instance: 1n, maximumHandoffs: 8 } as const
  server.connected(channel as never, hello)
}

/** An offer; `closed` says whether its descriptor was closed. */
function offer(changes: Partial<NginxArrival> = {}): NginxArrival {
  const received = Buffer.from(HEAD)
  const arrival = {
    flow: FlowKey.of({ address: '192.0.2.1', port: 1234 }, SERVICE),
    fd: -1,
    server: 's1:80',
    address: '10.0.0.1:80',
    requests: 1,
    headLength: HEAD.length,
    received,
    closed: false,
    close() {
      arrival.closed = true
    },
    ...changes,
  }
  return arrival as NginxArrival
}

const failed = (reason: string, result = 'rolled-back') =>
  ({ result, failure: { reason, text: 'why' } }) as unknown as Partial<HandoffOutcome>

test('a connection that was handed off stays open until the handoff closes it, without the request', async () => {
  const { requests, handedOff } = gateway({ result: 'handed-off' })
  const arrival = offer()
  expect(await requests.requested(arrival)).toEqual({ result: 'handed-off' })
  expect([arrival.closed, handedOff[0]?.server.name, [...arrival.received].every((byte) => byte === 0)]).toEqual([
    false,
    's1',
    true,
  ])
  handedOff[0]?.origin.release()
  expect(arrival.closed).toBe(true)
})

test.each([
  ['busy', 'rolled-back', { result: 'refused', reason: 'busy: why' }],
  ['accept-timeout', 'rolled-back', { result: 'refused', reason: 'accept-timeout: why', serverFailed: true }],
  ['commit-timeout', 'lost', { result: 'lost', reason: 'commit-timeout: why' }],
])('a handoff that has failed (%s, %s)', async (reason, result, expected) => {
  const { requests, handedOff } = gateway(failed(reason, result))
  const arrival = offer()
  expect(await requests.requested(arrival)).toEqual(expected as never)
  expect(arrival.closed).toBe(true)
  // The number may be another file's by now.
  expect(() => handedOff[0]?.origin.thaw()).toThrow('closed its connection')
})

test('servers that take nothing: nginx is to pass over them, but not over the last one', async () => {
  const { requests, servers, handedOff } = gateway({ result: 'handed-off' })
  const [first, second] = servers as [Server, Server]
  first.draining = true
  const drained = { result: 'refused', reason: 's1 is being drained' } as const
  expect(await requests.requested(offer())).toEqual({ ...drained, serverFailed: true })
  second.draining = true
  expect(await requests.requested(offer())).toEqual({ ...drained, serverFailed: false })
  expect(handedOff).toEqual([])
})

test('a server that is not connected', async () => {
  const { requests } = gateway({}, { peers: new NginxPeers([], [new Server('s1', undefined)]) })
  const refusal = { result: 'refused', reason: 's1 is not connected', serverFailed: true } as const
  expect(await requests.requested(offer())).toEqual(refusal)
})

test('a server that nobody knows is refused, and reported once', async () => {
  const { requests, events } = gateway({})
  for (let count = 0; count < 3; count++) {
    const verdict = await requests.requested(offer({ server: 'other:80', address: '10.0.0.3:80' }))
    expect(verdict).toMatchObject({
      result: 'refused',
      reason:
        'other:80 (10.0.0.3:80) is no server of this gateway, or several: name its address in one of servers[].proxy',
    })
  }
  expect(events.filter(({ event }) => event === 'nginx-server-unknown').length).toBe(1)
})

test.each([
  ['a head that a server could read differently', offer({ headLength: 10 }), 'the request has no clear end'],
  [
    'a head that is not in order',
    offer({ received: Buffer.from('GET / HTTP/1.1\r\nHost : x\r\n\r\n') }),
    /colon|header|field/,
  ],
  [
    'an address that is none of the service',
    offer({ flow: FlowKey.of({ address: '192.0.2.1', port: 1 }, { address: '198.51.100.1', port: 81 }) }),
    '198.51.100.1:81 is no service address: name it in "service"',
  ],
])('nginx keeps %s', async (_, arrival, reason) => {
  const { requests, handedOff } = gateway({ result: 'handed-off' })
  const verdict = await requests.requested(arrival)
  expect(verdict).toMatchObject({ result: 'refused' })
  expect('reason' in verdict ? verdict.reason : '').toMatch(reason)
  expect(handedOff).toEqual([])
})

test('nginx keeps everything while another process takes over', async () => {
  const { requests } = gateway({ result: 'handed-off' })
  requests.paused = true
  expect(await requests.requested(offer())).toMatchObject({ result: 'refused' })
  requests.paused = false
  expect(await requests.requested(offer())).toEqual({ result: 'handed-off' })
})

test('no more descriptors are open than connections may be', async () => {
  const { requests, handedOff } = gateway({ result: 'handed-off' })
  const ask = async () => (await requests.requested(offer())).result
  expect([await ask(), await ask(), await ask()]).toEqual(['handed-off', 'handed-off', 'refused'])
  handedOff[0]?.origin.release()
  expect([await ask(), await ask()]).toEqual(['handed-off', 'refused'])
})

test('the gateway chooses by itself when it is to, whatever nginx has chosen', async () => {
  const { requests, handedOff, servers } = gateway({ result: 'handed-off' }, { choice: 'gateway' })
  await requests.requested(offer({ server: 'other', address: '10.0.0.3:80' }))
  expect(handedOff[0]?.server.name).toBe('s2')
  for (const server of servers) server.draining = true
  expect(await requests.requested(offer())).toEqual({ result: 'refused', reason: 'no server takes connections' })
})

test('connections are counted once, at their first request', async () => {
  const journal = new Journal(() => {})
  const { requests } = gateway({ result: 'handed-off' }, { journal })
  for (const number of [1, 2, 3]) await requests.requested(offer({ requests: number }))
  expect(journal.accepted).toBe(1)
})

test('a connection whose last handoff an earlier process has left is not moved until that is decided', async () => {
  const undecided = new Set([offer().flow.id])
  const { requests, handedOff } = gateway(
    { result: 'handed-off' },
    { recovery: { isUndecided: ({ id }) => undecided.has(id) } },
  )
  expect(await requests.requested(offer())).toMatchObject({
    result: 'refused',
    reason: expect.stringContaining('not finished'),
  })
  expect(handedOff).toEqual([])
  undecided.clear()
  expect(await requests.requested(offer())).toEqual({ result: 'handed-off' })
})
