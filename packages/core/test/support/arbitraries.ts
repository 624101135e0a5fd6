import fc from 'fast-check'
import {
  FlowKey,
  MacAddress,
  type Message,
  PROTOCOL_VERSION,
  REFUSE_REASONS,
  REPORT_STATES,
  type TcpSnapshot,
} from '../../src/index.ts'

const port = fc.integer({ min: 1, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const bytes = fc.uint8Array({ maxLength: 300 })

export const flow: fc.Arbitrary<FlowKey> = fc
  .oneof(
    fc.record({ client: fc.ipV4(), service: fc.ipV4(), clientPort: port, servicePort: port }),
    fc.record({ client: fc.constant('2001:db8::1'), service: fc.ipV6(), clientPort: port, servicePort: port }),
  )
  .filter(({ service }) => !service.includes('.') || /^[\d.]+$/.test(service))
  .map(({ client, service, clientPort, servicePort }) =>
    FlowKey.of({ address: client, port: clientPort }, { address: service, port: servicePort }),
  )

const windowSize = fc.integer({ min: 0, max: 0xffff * 2 ** 14 })
const shift = fc.integer({ min: 0, max: 14 })

export const snapshot: fc.Arbitrary<TcpSnapshot> = fc.record({
  flow,
  options: fc.record(
    {
      maximumSegmentSize: fc.integer({ min: 1, max: 0xffff }),
      windowScale: fc.record({ send: shift, receive: shift }),
      selectiveAcknowledgement: fc.boolean(),
      timestamp: u32,
    },
    { requiredKeys: ['maximumSegmentSize', 'selectiveAcknowledgement'], noNullPrototype: true },
  ),
  window: fc
    .record({ sendLastUpdate: u32, a: windowSize, b: windowSize, receiveWindow: windowSize, receiveLastUpdate: u32 })
    .map(({ a, b, ...rest }) => ({ ...rest, sendWindow: Math.min(a, b), maximumWindow: Math.max(a, b) })),
  send: fc.record({ sequence: u32, sent: bytes, unsent: bytes }),
  receive: fc.record(
    { sequence: u32, queue: bytes, fin: fc.constant(true) },
    { requiredKeys: ['sequence', 'queue'], noNullPrototype: true },
  ),
})

const reference = { handoff: fc.maxSafeNat(), epoch: u32 }
const wellFormed = (maxLength: number): fc.Arbitrary<string> => fc.string({ unit: 'grapheme', maxLength })

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((six) => MacAddress.from(six))
const remote = flow.map(({ client }) => client.address)

const hello = {
  type: fc.constant('hello' as const),
  protocolVersion: fc.constant(PROTOCOL_VERSION),
  host: fc.string({ minLength: 1, maxLength: 60 }),
  mac,
  instance: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  maximumHandoffs: u32,
}
const vxlan = fc.record({
  mode: fc.constant('vxlan' as const),
  remote,
  identifier: fc.nat(0xff_ffff),
  port,
  mac,
})
const ipip = fc.record({ mode: fc.constant('ipip' as const), remote })

export const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record(hello),
  fc.record({ ...hello, tunnel: fc.oneof(vxlan, ipip) }),
  fc.record({ type: fc.constant('offer' as const), ...reference, snapshot: bytes, application: bytes }),
  fc.record({ type: fc.constant('accept' as const), ...reference, restoreMicroseconds: u32 }),
  fc.record({
    type: fc.constant('refuse' as const),
    ...reference,
    reason: fc.constantFrom(...REFUSE_REASONS),
    text: wellFormed(20),
  }),
  fc.record({ type: fc.constant('commit' as const), ...reference, acknowledge: fc.boolean() }),
  fc.record({ type: fc.constant('committed' as const), ...reference, adoptMicroseconds: u32 }),
  fc.record({ type: fc.constant('abort' as const), ...reference }),
  fc.record({ type: fc.constant('ended' as const), ...reference, flow }),
  fc.record({ type: fc.constant('yield' as const), ...reference, flow, responding: fc.boolean(), request: bytes }),
  fc.record({ type: fc.constantFrom('keep' as const, 'release' as const, 'reset' as const), ...reference }),
  fc.record({ type: fc.constant('recall' as const), ...reference, flow }),
  fc.record({ type: fc.constant('take' as const), ...reference, flow, connection: fc.record(reference) }),
  fc.record({
    type: fc.constant('report' as const),
    nonce: u32,
    last: fc.boolean(),
    connections: fc.array(
      fc.record(
        { ...reference, flow, state: fc.constantFrom(...REPORT_STATES), connection: fc.record(reference) },
        { requiredKeys: ['handoff', 'epoch', 'flow', 'state'] },
      ),
      { maxLength: 5 },
    ),
  }),
  fc.record({ type: fc.constantFrom('ping' as const, 'pong' as const, 'audit' as const), nonce: u32 }),
)
