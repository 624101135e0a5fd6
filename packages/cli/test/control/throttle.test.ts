// A peer that sends more messages than it may has to wait; one that works as hard as it can does not.
import { afterEach, expect, test } from 'bun:test'
import { encodeMessage, FlowKey, type Message } from '@xoffload/core'
import { costOf } from '../../src/control/cost.ts'
import { defaultControlLimits } from '../../src/control/index.ts'
import { TokenBucket } from '../../src/runtime/token-bucket.ts'
import { abort, channelOf, collecting, connect, Events, listen, open } from './support.ts'

const cleanup: (() => void)[] = []
afterEach(() => {
  for (const close of cleanup.splice(0).reverse()) close()
})

const reference = { handoff: 1, epoch: 1 }
const flow = FlowKey.of({ address: '192.0.2.1', port: 40_000 }, { address: '198.51.100.1', port: 80 })
const request = new Uint8Array(500)
const NOTHING = new Uint8Array()

/** What a gateway gets from a server for a connection that moves away from it, and for one that moves to it and ends there. */
const fromServer: Message[] = [
  { type: 'yield', ...reference, flow, responding: false, request },
  { type: 'offer', ...reference, snapshot: NOTHING, application: NOTHING },
  { type: 'accept', ...reference, restoreMicroseconds: 1 },
  { type: 'committed', ...reference, adoptMicroseconds: 1 },
  { type: 'ended', ...reference, flow },
]
/** What a server gets from a gateway for the same. */
const fromGateway: Message[] = [
  { type: 'recall', ...reference, flow },
  { type: 'take', ...reference, flow, connection: reference },
  { type: 'release', ...reference },
  { type: 'offer', ...reference, snapshot: NOTHING, application: NOTHING },
  { type: 'commit', ...reference, acknowledge: false },
]

/** Messages of one connection as many times a second, for three seconds; the milliseconds for which a host would have had to wait. */
function waits(messages: readonly Message[], perSecond: number): number {
  let now = 0
  const bucket = new TokenBucket(defaultControlLimits.messages, defaultControlLimits.messages, () => now)
  let waited = 0
  for (; now < 3000; now += 10) {
    for (let count = 0; count < perSecond / 100; count++) for (const message of messages) bucket.spend(costOf(message))
    waited += bucket.wait()
  }
  return waited
}

test('what has been spent beyond is waited for, and idle times count up to the size', () => {
  let now = 0
  const bucket = new TokenBucket(1000, 50, () => now)
  bucket.spend(50)
  expect(bucket.wait()).toBe(0)
  bucket.spend(10)
  expect(bucket.wait()).toBe(10)
  now = 4
  expect(bucket.wait()).toBeCloseTo(6)
  now = 10_000
  expect(bucket.wait()).toBe(0)
  bucket.spend(51)
  expect(bucket.wait()).toBeCloseTo(1)
})

test('10,000 moves a second from a server, and as many to it, do not make it wait', () => {
  expect(waits(fromServer, 10_000)).toBe(0)
  expect(waits(fromGateway, 10_000)).toBe(0)
  expect(waits(fromServer, 20_000)).toBeGreaterThan(0)
})

test('nor does a report of a million connections, but one after the other does', () => {
  const connections = Array.from({ length: 512 }, () => ({ ...reference, flow, state: 'owned' as const }))
  const report: Message = { type: 'report', nonce: 1, last: false, connections }
  const spend = (bucket: TokenBucket): void => {
    for (let part = 0; part < 2048; part++) bucket.spend(costOf(report))
  }
  const { messages } = defaultControlLimits
  const bucket = new TokenBucket(messages, messages, () => 0)
  spend(bucket)
  expect(bucket.wait()).toBe(0)
  spend(bucket)
  expect(bucket.wait()).toBeGreaterThan(0)
})

test('long requests count by their length', () => {
  const message = { type: 'yield', ...reference, flow, responding: false } as const
  const [short, long] = [costOf({ ...message, request }), costOf({ ...message, request: new Uint8Array(65_536) })]
  expect([short < 6, long]).toEqual([true, 69])
})

test('nothing is read for a while, nothing is lost, and the channel lives on', async () => {
  const [server, gateway] = [new Events(), new Events()]
  const throttled: string[] = []
  const limits = { messages: 1000, pingInterval: 100, deadAfter: 300 }
  const listener = listen(server, { limits, onThrottled: ({ host }) => void throttled.push(host) })
  cleanup.push(() => listener.close())
  const connector = connect(gateway, listener.port, { limits: { ...limits, messages: 1_000_000 } })
  cleanup.push(() => connector.close())
  await Promise.all([server.ups.atLeast(1), gateway.ups.atLeast(1)])
  const channel = channelOf(connector, 's1')
  const began = performance.now()
  for (let count = 0; count < 2000; count++) channel.send(abort(count))
  await server.messages.atLeast(2000)
  channel.send(abort(2000))
  const messages = await server.messages.atLeast(2001)
  // Longer than a peer may be silent, and than one may read nothing.
  expect(performance.now() - began).toBeGreaterThan(900)
  expect(messages).toEqual(Array.from({ length: 2001 }, (_, index) => abort(index)))
  expect([throttled, server.downs.items, gateway.downs.items]).toEqual([['gateway'], [], []])
})

test('a new connection brings no new allowance', () => {
  const { channel } = collecting(100)
  const flood = (connection: ReturnType<typeof open>['connection']): void => {
    for (let count = 0; count < 150; count++) connection.receive(encodeMessage(abort(count)))
  }
  const first = open(channel)
  expect(first.paused()).toBe(false)
  flood(first.connection)
  expect(first.paused()).toBe(true)
  first.connection.close()
  const second = open(channel)
  expect(second.paused()).toBe(true)
  second.connection.close()
})
