// A server with a valid certificate that speaks the protocol and forges what it says.
import { beforeEach, expect, test } from 'bun:test'
import {
  FlowKey,
  HandoffCoordinator,
  MacAddress,
  type OutgoingMessage,
  PROTOCOL_VERSION,
  type Redirector,
  type ReportedConnection,
  type Rule,
} from '@xoffload/core'
import type { ControlChannel } from '../../src/control/index.ts'
import { type FlowEntry, FlowTable } from '../../src/gateway/flow-table.ts'
import { Journal } from '../../src/gateway/journal.ts'
import { Moves } from '../../src/gateway/moves.ts'
import { Recovery } from '../../src/gateway/recovery.ts'
import { Selection } from '../../src/gateway/selection.ts'
import { Server } from '../../src/gateway/server.ts'
import { Steering } from '../../src/gateway/steering.ts'
import { systemClock } from '../../src/runtime/clock.ts'

const EPOCH = 7
const SERVICE = { address: '198.51.100.1', port: 80 }
const HONEST_MAC = '02:00:00:00:00:01'
const FORGER_MAC = '02:00:00:00:00:02'
const flowOf = (port: number, service = SERVICE) => FlowKey.of({ address: '192.0.2.1', port }, service)

/** A server whose channel keeps what it is sent. */
function serverOf(name: string, mac: string) {
  const sent: OutgoingMessage[] = []
  const channel = { host: name, connected: true, send: (message: OutgoingMessage) => void sent.push(message) }
  const server = new Server(name, undefined)
  const hello = { type: 'hello', protocolVersion: PROTOCOL_VERSION, host: name, mac: MacAddress.parse(mac) } as const
  server.connected(channel as unknown as ControlChannel, { ...hello, instance: 1n, maximumHandoffs: 8 })
  return { server, sent, channel: channel as unknown as ControlChannel }
}

let rules: Map<string, Rule>
let logged: unknown[]
let honest: ReturnType<typeof serverOf>
let forger: ReturnType<typeof serverOf>
let flows: FlowTable
let steering: Steering
let moves: Moves
let recovery: Recovery

beforeEach(() => {
  rules = new Map()
  logged = []
  const redirector = {
    put: async (rule: Rule) => {
      rules.set(rule.flow.id, rule)
      return 'active'
    },
    remove: async (flow: FlowKey) => rules.delete(flow.id),
    list: async function* () {},
  } as unknown as Redirector
  const log = (_level: string, record: object) => void logged.push(record)
  honest = serverOf('honest', HONEST_MAC)
  forger = serverOf('forger', FORGER_MAC)
  const servers = [honest.server, forger.server]
  flows = new FlowTable()
  const journal = new Journal(log)
  const onError = (error: unknown) => void logged.push(error)
  const coordinator = new HandoffCoordinator({ redirector, clock: systemClock, epoch: EPOCH, onError })
  steering = new Steering({ flows, redirector, coordinator, journal, log })
  const selection = new Selection((_, candidates) => candidates[0], servers)
  const gateway = { name: 'gateway', destination: { channel: honest.channel } }
  moves = new Moves({ steering, selection, journal, log, headBytes: 1000, gateway })
  const serves = ({ service }: FlowKey) => service.address === SERVICE.address && service.port === SERVICE.port
  const here = () => false
  recovery = new Recovery({ steering, redirector, servers, journal, log, here, serves, maximumConnections: 100 })
})

/** A connection that lives at the honest server. */
function established(handoff: number): FlowEntry {
  const flow = flowOf(40_000 + handoff)
  const target = honest.server.destination?.steer
  if (target === undefined) throw new Error('the server is not connected')
  rules.set(flow.id, { action: 'steer', flow, target, handoff: { handoff, epoch: EPOCH } })
  return flows.adopt(flow, honest.server, { handoff, epoch: EPOCH })
}

/** Lets the operations on rules happen. */
const settle = () => new Promise(setImmediate)

function report(connections: readonly ReportedConnection[], last = true): void {
  const nonce = forger.sent.findLast((message) => message.type === 'audit')?.nonce ?? 0
  recovery.reported(forger.server, { type: 'report', nonce, last, connections })
}

/** Both servers have said what they have after the start; then the forger is asked again. */
function asked(): void {
  for (const { server, sent } of [honest, forger]) {
    recovery.audit(server)
    const nonce = sent.findLast((message) => message.type === 'audit')?.nonce ?? 0
    recovery.reported(server, { type: 'report', nonce, last: true, connections: [] })
  }
  recovery.sweep()
  recovery.audit(forger.server)
}

test('the end of a connection of another server, or of an earlier one, means nothing', async () => {
  const entry = established(1)
  steering.told('forger', entry.flow, { handoff: 1, epoch: EPOCH })
  steering.told('honest', entry.flow, { handoff: 1, epoch: EPOCH - 1 })
  steering.told('honest', entry.flow, { handoff: 2, epoch: EPOCH })
  expect(entry.state).toBe('steered')
  steering.told('honest', entry.flow, { handoff: 1, epoch: EPOCH })
  expect(entry.state).toBe('ended')
  await settle()
})

test('the end of a connection that is on its way to another server, with the right reference, means nothing', () => {
  const entry = flows.begin(flowOf(1), honest.server)
  steering.told('forger', entry.flow, { handoff: 1, epoch: EPOCH })
  flows.assign(entry, honest.server, { handoff: 1, epoch: EPOCH })
  moves.settled(entry)
  expect(entry.state).toBe('steered')
})

test.each(['the server that it comes to', 'the server that it leaves'])(
  'who has no part in a move does not overwrite what %s says of it',
  (which) => {
    const third = serverOf('third', '02:00:00:00:00:03')
    const entry = flows.begin(flowOf(1), honest.server)
    if (which === 'the server that it leaves') flows.move(entry, forger.server)
    steering.told('honest', entry.flow, { handoff: 1, epoch: EPOCH })
    for (const { server, channel } of [third, forger]) {
      steering.told(server.name, entry.flow, { handoff: 9, epoch: EPOCH })
      const message = { handoff: 9, epoch: EPOCH, flow: entry.flow, responding: true, request: new Uint8Array() }
      moves.yielded(channel, { type: 'yield', ...message })
    }
    flows.assign(entry, honest.server, { handoff: 1, epoch: EPOCH })
    moves.settled(entry)
    expect([entry.state, entry.early]).toEqual(['ended', undefined])
    expect(third.sent).toEqual([{ type: 'keep', handoff: 9, epoch: EPOCH }])
  },
)

test('a yield of a connection of another server is answered, and moves nothing', async () => {
  const entry = established(1)
  const message = { handoff: 1, epoch: EPOCH, flow: entry.flow, responding: true, request: new Uint8Array() }
  moves.yielded(forger.channel, { type: 'yield', ...message })
  await settle()
  expect([entry.state, honest.sent]).toEqual(['steered', []])
  expect(forger.sent).toEqual([{ type: 'keep', handoff: 1, epoch: EPOCH }])
})

test('what a server says while a connection moves is about an earlier connection when the reference is another', async () => {
  const entry = flows.begin(flowOf(1), honest.server)
  steering.told('honest', entry.flow, { handoff: 1, epoch: EPOCH })
  const message = { handoff: 1, epoch: EPOCH, flow: entry.flow, responding: true, request: new Uint8Array() }
  moves.yielded(honest.channel, { type: 'yield', ...message })
  flows.assign(entry, honest.server, { handoff: 2, epoch: EPOCH })
  moves.settled(entry)
  await settle()
  expect([entry.state, honest.sent]).toEqual(['steered', [{ type: 'keep', handoff: 1, epoch: EPOCH }]])
})

test('a yield of a connection that is on its way to another server moves nothing', async () => {
  const entry = flows.begin(flowOf(1), honest.server)
  const message = { handoff: 1, epoch: EPOCH, flow: entry.flow, responding: true, request: new Uint8Array() }
  moves.yielded(forger.channel, { type: 'yield', ...message })
  flows.assign(entry, honest.server, { handoff: 1, epoch: EPOCH })
  moves.settled(entry)
  await settle()
  expect([entry.state, honest.sent]).toEqual(['steered', []])
})

test('a report steers no flow of another address than those of the service', async () => {
  asked()
  const ssh = flowOf(1, { address: SERVICE.address, port: 22 })
  const other = flowOf(2, { address: '198.51.100.9', port: 80 })
  const claimed = [ssh, other].map((flow) => ({ flow, handoff: 1, epoch: EPOCH, state: 'owned' }) as const)
  report(claimed)
  await settle()
  expect([...rules.keys(), ...flows.values()]).toEqual([])
})

test('one of the service that nobody else has is steered to the server that reports it', async () => {
  asked()
  const flow = flowOf(1)
  report([{ flow, handoff: 1, epoch: EPOCH, state: 'owned' }])
  await settle()
  const target = { mode: 'l2', mac: MacAddress.parse(FORGER_MAC) }
  expect(rules.get(flow.id)).toMatchObject({ action: 'steer', target })
})

test('a report takes no connection away from another server', async () => {
  const entry = established(1)
  const before = rules.get(entry.flow.id)
  asked()
  // The honest server has just said, too early, that it has none: the entry came after the question.
  const states = ['owned', 'prepared', 'offered'] as const
  for (const state of states) {
    report([{ flow: entry.flow, handoff: 1, epoch: EPOCH, state }])
    recovery.audit(forger.server)
  }
  await settle()
  expect(entry.server).toBe(honest.server)
  expect(rules.get(entry.flow.id)).toBe(before as Rule)
  expect(honest.sent.filter(({ type }) => type !== 'audit')).toEqual([])
})

test('a report without an end is refused when it has more connections than there may be flows', async () => {
  asked()
  for (let part = 0; part < 4; part++) {
    const ports = Array.from({ length: 30 }, (_, index) => 1 + part * 30 + index)
    report(
      ports.map((port) => ({ flow: flowOf(port), handoff: port, epoch: EPOCH, state: 'owned' })),
      part === 3,
    )
  }
  await settle()
  expect(rules.size).toBe(0)
  expect(logged).toContainEqual(expect.objectContaining({ event: 'report-refused', server: 'forger' }))
})

test('an answer to a question that was not asked is not used', async () => {
  asked()
  recovery.reported(forger.server, { type: 'report', nonce: -1, last: true, connections: [] })
  const connections = [{ flow: flowOf(1), handoff: 1, epoch: EPOCH, state: 'owned' }] as const
  recovery.reported(honest.server, { type: 'report', nonce: 0, last: true, connections })
  await settle()
  expect(rules.size).toBe(0)
})
