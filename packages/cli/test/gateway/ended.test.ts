// What becomes of the rule when a connection has ended, or when nobody has taken it away.
import { beforeEach, expect, test } from 'bun:test'
import {
  type Clock,
  FlowKey,
  HandoffCoordinator,
  type ListedRule,
  MacAddress,
  PROTOCOL_VERSION,
  type Redirector,
  type Rule,
} from '@xoffload/core'
import type { ControlChannel } from '../../src/control/index.ts'
import { type FlowEntry, FlowTable } from '../../src/gateway/flow-table.ts'
import { Journal } from '../../src/gateway/journal.ts'
import { Recovery } from '../../src/gateway/recovery.ts'
import { Server } from '../../src/gateway/server.ts'
import { Steering } from '../../src/gateway/steering.ts'

const MAC = MacAddress.parse('02:00:00:00:00:01')
const reference = { handoff: 1, epoch: 7 }
const flowOf = (port: number) => FlowKey.of({ address: '192.0.2.1', port }, { address: '198.51.100.1', port: 80 })

let now: number
let timers: Set<{ readonly at: number; readonly callback: () => void }>
let rules: Map<string, Rule>
let calls: string[]
let logged: unknown[]
let server: Server
let flows: FlowTable
let journal: Journal
let steering: Steering
let recovery: Recovery

beforeEach(() => {
  now = 1_000_000
  timers = new Set()
  rules = new Map()
  calls = []
  logged = []
  const clock: Clock = {
    now: () => now,
    after: (milliseconds, callback) => {
      const timer = { at: now + milliseconds * 1000, callback }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
  }
  const redirector = {
    put: async (rule: Rule) => {
      calls.push(rule.action === 'steer' && rule.ended ? 'mark as ended' : rule.action)
      rules.set(rule.flow.id, rule)
      return 'active'
    },
    remove: async (flow: FlowKey) => {
      calls.push('remove')
      return rules.delete(flow.id)
    },
    list: async function* (): AsyncGenerator<ListedRule> {
      for (const rule of rules.values()) {
        yield { rule, counters: { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n } }
      }
    },
  } as unknown as Redirector
  const log = (_level: string, record: object) => void logged.push(record)
  const onError = (error: unknown) => void logged.push(error)
  server = new Server('server', undefined)
  const channel = { host: 'server', connected: true, send: () => {} } as unknown as ControlChannel
  const hello = { type: 'hello', protocolVersion: PROTOCOL_VERSION, host: 'server', mac: MAC } as const
  server.connected(channel, { ...hello, instance: 1n, maximumHandoffs: 8 })
  flows = new FlowTable()
  journal = new Journal(log)
  const coordinator = new HandoffCoordinator({ redirector, clock, epoch: reference.epoch, onError })
  steering = new Steering({ flows, redirector, coordinator, journal, log, clock })
  recovery = new Recovery({
    ...{ steering, redirector, servers: [], journal, log, clock },
    here: () => false,
    serves: () => true,
    maximumConnections: 100,
  })
})

function steered(port: number): FlowEntry {
  const flow = flowOf(port)
  rules.set(flow.id, { action: 'steer', flow, target: { mode: 'l2', mac: MAC }, handoff: reference })
  return flows.adopt(flow, server, reference)
}

async function pass(milliseconds: number): Promise<void> {
  const end = now + milliseconds * 1000
  for (;;) {
    const [next] = [...timers].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at)
    if (next === undefined) break
    timers.delete(next)
    now = Math.max(now, next.at)
    next.callback()
  }
  now = end
  await new Promise(setImmediate)
}

test('it catches late packets for a second, and is removed after it was marked', async () => {
  const entry = steered(1)
  steering.end(entry)
  await pass(900)
  expect([calls, flows.get(entry.flow)?.state]).toEqual([['mark as ended'], 'ended'])
  await pass(200)
  expect([calls, rules.size, flows.get(entry.flow)]).toEqual([['mark as ended', 'remove'], 0, undefined])
})

test('of many connections that end, one timer runs', async () => {
  for (let port = 1; port <= 100; port++) steering.end(steered(port))
  expect(timers.size).toBe(1)
  await pass(1100)
  expect([rules.size, timers.size]).toEqual([0, 0])
})

test('while it is another process that has the rules no timer runs, and none is removed until they are back', async () => {
  steering.end(steered(1))
  steering.linger(flowOf(2), { mode: 'l2', mac: MAC })
  steering.released = true
  await pass(5000)
  expect([rules.size, timers.size]).toEqual([2, 0])
  steering.released = false
  await pass(0)
  expect([rules.size, [...flows.values()]]).toEqual([0, []])
})

test('a client that has used its port again keeps the rule of its new connection', async () => {
  const entry = steered(1)
  steering.end(entry)
  await pass(500)
  steered(1)
  await pass(1000)
  expect([calls, rules.size]).toEqual([['mark as ended'], 1])
})

test('one that nobody has taken away is found when the rules of an earlier process are decided on', async () => {
  const lost: FlowKey[] = []
  steering.lost = (flow) => {
    lost.push(flow)
    rules.delete(flow.id)
  }
  steered(1)
  rules.set(flowOf(2).id, { action: 'hold', flow: flowOf(2), handoff: reference })
  for (let minutes = 0; minutes < 2; minutes++) {
    for (let count = 0; count < 4; count++) {
      recovery.sweep()
      await pass(250)
    }
    expect(lost).toHaveLength(minutes)
    await pass(60_000)
  }
  expect([lost.map(String), rules.size, journal.mendedRules]).toEqual([[`${flowOf(2)}`], 1, 1])
})
