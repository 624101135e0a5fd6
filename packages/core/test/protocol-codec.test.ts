import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  CodecError,
  decodeSnapshot,
  encodeMessage,
  encodeSnapshot,
  FlowKey,
  FrameDecoder,
  type HelloMessage,
  MAXIMUM_APPLICATION_LENGTH,
  MAXIMUM_REPORT_LENGTH,
  MacAddress,
  type Message,
  PROTOCOL_VERSION,
} from '../src/index.ts'
import { message, snapshot } from './support/arbitraries.ts'

/** Makes flows and addresses comparable by `toEqual`: a cached id is no part of them. */
function comparable(value: unknown): unknown {
  if (value instanceof FlowKey || value instanceof MacAddress) return value.toString()
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, comparable(one)]))
}

function joined(parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

const hello: HelloMessage = {
  type: 'hello',
  protocolVersion: PROTOCOL_VERSION,
  host: 'server-1',
  mac: MacAddress.parse('02:00:00:00:00:01'),
  instance: 1n,
  maximumHandoffs: 64,
}

const vxlan = { mode: 'vxlan', remote: '192.0.2.9', identifier: 1, port: 4789, mac: hello.mac } as const

const flow = FlowKey.of({ address: '192.0.2.7', port: 40000 }, { address: '198.51.100.1', port: 80 })
const reported = { flow, handoff: 1, epoch: 1, state: 'owned' } as const

describe('messages', () => {
  test('arrive as they were sent, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.nat(200)), (messages, cuts) => {
        const stream = joined(messages.map(encodeMessage))
        const decoder = new FrameDecoder()
        const arrived: Message[] = []
        let offset = 0
        for (const cut of [...cuts, stream.length]) {
          const chunk = stream.slice(offset, offset + cut)
          arrived.push(...decoder.push(chunk))
          // What was pushed is not kept: the caller may use its buffer again.
          chunk.fill(0xaa)
          offset += chunk.length
        }
        expect(arrived.map(comparable)).toEqual(messages.map(comparable))
      }),
    )
  })

  test('byte by byte, a message is there with its last byte and not before', () => {
    fc.assert(
      fc.property(message, (one) => {
        const decoder = new FrameDecoder()
        const bytes = encodeMessage(one)
        for (let index = 0; index < bytes.length - 1; index++) {
          expect(decoder.push(bytes.subarray(index, index + 1))).toEqual([])
        }
        expect(decoder.push(bytes.subarray(bytes.length - 1)).map(comparable)).toEqual([comparable(one)])
      }),
    )
  })

  test('a frame that is shorter or longer than its message is refused', () => {
    fc.assert(
      fc.property(message, (one) => {
        const bytes = encodeMessage(one)
        for (const change of [-1, 1]) {
          const length = bytes.length + change
          const frame = new Uint8Array(length)
          frame.set(bytes.subarray(0, length))
          new DataView(frame.buffer).setUint32(0, length - 4)
          expect(() => new FrameDecoder().push(frame)).toThrow(CodecError)
        }
      }),
    )
  })

  test('random bytes give messages or a CodecError, and after an error nothing more', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1 }), (chunks) => {
        const decoder = new FrameDecoder()
        let failure: unknown
        for (const chunk of chunks) {
          // The length is mostly right, so that the fields are reached.
          if (chunk.length > 5) chunk.set([0, 0, 0, chunk.length - 4, ((chunk[4] as number) % 19) + 1])
          try {
            decoder.push(chunk)
            expect(failure).toBeUndefined()
          } catch (error) {
            expect(error).toBeInstanceOf(CodecError)
            if (failure) expect(error).toBe(failure)
            failure = error
          }
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('limits', () => {
  test.each([
    ['unknown type', [0, 0, 0, 1, 19], 'unknown message type 19'],
    ['type 0', [0, 0, 0, 1, 0], 'unknown message type 0'],
    ['no type', [0, 0, 0, 0, 1], 'without a type'],
    ['a ping of 2 KiB', [0, 0, 8, 0, 9], 'at most'],
    ['an offer of 64 MiB', [4, 0, 0, 0, 2], 'at most'],
    ['a yield of 128 KiB', [0, 2, 0, 0, 11], 'at most'],
    ['a take of 2 KiB', [0, 0, 8, 0, 14], 'at most'],
    ['a report of 64 KiB', [0, 1, 0, 0, 18], 'at most'],
    ['a length with the top bit', [0xff, 0xff, 0xff, 0xff, 2], 'at most'],
  ])('refuses %s by its header alone, however it is cut', (_name, header, text) => {
    expect(() => new FrameDecoder().push(Uint8Array.from(header))).toThrow(text)
    const decoder = new FrameDecoder()
    expect(decoder.push(Uint8Array.from(header.slice(0, 3)))).toEqual([])
    expect(() => decoder.push(Uint8Array.from(header.slice(3)))).toThrow(text)
  })

  test('the limit of frames can be set lower', () => {
    const offer = encodeMessage({
      type: 'offer',
      handoff: 1,
      epoch: 1,
      snapshot: new Uint8Array(100),
      application: new Uint8Array(),
    })
    expect(new FrameDecoder({ maximumFrameLength: offer.length - 4 }).push(offer)).toHaveLength(1)
    expect(() => new FrameDecoder({ maximumFrameLength: offer.length - 5 }).push(offer)).toThrow('at most')
  })

  test('a great offer passes in small pieces, and small messages after it', () => {
    const decoder = new FrameDecoder()
    const great = new Uint8Array(3_000_000).map((_, index) => index % 251)
    const stream = joined([
      encodeMessage({ type: 'offer', handoff: 1, epoch: 1, snapshot: great, application: new Uint8Array(3) }),
      encodeMessage({ type: 'ping', nonce: 9 }),
    ])
    const arrived: Message[] = []
    for (let offset = 0; offset < stream.length; offset += 1460)
      arrived.push(...decoder.push(stream.subarray(offset, offset + 1460)))
    expect(arrived.map((one) => one.type)).toEqual(['offer', 'ping'])
    expect(Buffer.compare((arrived[0] as { snapshot: Uint8Array }).snapshot, great)).toBe(0)
  })

  test('does not encode what it would not decode', () => {
    const bad: Parameters<typeof encodeMessage>[0][] = [
      { ...hello, host: '' },
      { ...hello, host: 'ä'.repeat(128) },
      { ...hello, tunnel: { mode: 'ipip', remote: 'server-1' } },
      { ...hello, tunnel: { ...vxlan, identifier: 2 ** 24 } },
      { ...hello, tunnel: { ...vxlan, port: 0 } },
      { ...hello, tunnel: { ...vxlan, port: 65_536 } },
      { ...hello, instance: -1n },
      { ...hello, instance: 2n ** 64n },
      { type: 'refuse', handoff: 1, epoch: 1, reason: 'busy', text: 'x'.repeat(1025) },
      { type: 'refuse', handoff: 1, epoch: 1, reason: 'nonsense' as 'busy', text: '' },
      {
        type: 'offer',
        handoff: 1,
        epoch: 1,
        snapshot: new Uint8Array(),
        application: new Uint8Array(MAXIMUM_APPLICATION_LENGTH + 1),
      },
      { type: 'offer', handoff: 1, epoch: 1, snapshot: new Uint8Array(49 * 2 ** 20), application: new Uint8Array() },
      { type: 'abort', handoff: 2 ** 53, epoch: 1 },
      { type: 'abort', handoff: 1, epoch: 2 ** 32 },
      { type: 'ping', nonce: -1 },
      { type: 'audit', nonce: 2 ** 32 },
      { type: 'yield', handoff: 1, epoch: 1, flow, responding: false, request: new Uint8Array(64 * 1024 + 1) },
      { type: 'take', handoff: 1, epoch: 1, flow, connection: { handoff: -1, epoch: 1 } },
      { type: 'report', nonce: 1, last: true, connections: new Array(513).fill(reported) },
      { type: 'report', nonce: 1, last: true, connections: [{ ...reported, state: 'nonsense' as 'owned' }] },
    ]
    for (const one of bad) expect(() => encodeMessage(one)).toThrow(CodecError)
  })

  test('what has come of a frame is forgotten when the stream has ended', () => {
    const decoder = new FrameDecoder()
    const bytes = encodeMessage(hello)
    expect(decoder.push(bytes.subarray(0, 12))).toEqual([])
    decoder.clear()
    expect(decoder.push(bytes)).toEqual([hello])
  })

  test('another protocol version is named in the error', () => {
    const bytes = encodeMessage({ ...hello, protocolVersion: PROTOCOL_VERSION + 1 })
    expect(() => new FrameDecoder().push(bytes)).toThrow(`version ${PROTOCOL_VERSION + 1}`)
  })

  test('a tunnel in a mode that is not known, without a port, or with an identifier that is too long is refused', () => {
    const bytes = encodeMessage({ ...hello, tunnel: vxlan })
    const fields = 1 + 16 + 4 + 2 + 6
    const changed = (offset: number, value: number): Uint8Array => bytes.with(bytes.length - fields + offset, value)
    expect(() => new FrameDecoder().push(changed(0, 3))).toThrow('unknown tunnel mode 3')
    expect(() => new FrameDecoder().push(changed(17, 1))).toThrow('24 bits')
    const noPort = bytes.slice()
    noPort.set([0, 0], bytes.length - 8)
    expect(() => new FrameDecoder().push(noPort)).toThrow('UDP port 0')
  })

  test('text that is not UTF-8, a flag that is neither 0 nor 1, an unsafe integer and an unknown reason are refused', () => {
    const refuse = encodeMessage({ type: 'refuse', handoff: 1, epoch: 1, reason: 'busy', text: 'no' })
    const changed = (bytes: Uint8Array, offset: number, value: number): Uint8Array => bytes.with(offset, value)
    expect(() => new FrameDecoder().push(changed(refuse, refuse.length - 1, 0xff))).toThrow('UTF-8')
    expect(() => new FrameDecoder().push(changed(refuse, 17, 6))).toThrow('unknown reason 6')
    expect(() => new FrameDecoder().push(changed(refuse, 5, 1))).toThrow('2^53')
    const commit = encodeMessage({ type: 'commit', handoff: 1, epoch: 1, acknowledge: true })
    expect(() => new FrameDecoder().push(changed(commit, commit.length - 1, 2))).toThrow('0 or 1')
  })
})

test('a report of the greatest length arrives; one that claims more, or an unknown state, is refused', () => {
  const connection = { handoff: 2, epoch: 1 }
  const connections = new Array(MAXIMUM_REPORT_LENGTH).fill({ ...reported, state: 'offered', connection })
  const bytes = encodeMessage({ type: 'report', nonce: 1, last: true, connections })
  const [report] = new FrameDecoder().push(bytes)
  if (report?.type !== 'report') throw new Error('no report')
  expect(report.connections).toHaveLength(MAXIMUM_REPORT_LENGTH)
  expect(report.connections[511]).toMatchObject({ state: 'offered', connection })
  expect(() => new FrameDecoder().push(bytes.with(10, 0xff))).toThrow('a report has')
  const state = 5 + 7 + FlowKey.byteLength + 12
  expect(() => new FrameDecoder().push(bytes.with(state, 3))).toThrow('unknown state 3')
})

test('an offer that carries the snapshot itself is the same on the wire as one that carries its encoding', () => {
  fc.assert(
    fc.property(snapshot, (one) => {
      const fields = { type: 'offer', handoff: 5, epoch: 6, application: Uint8Array.of(1, 2) } as const
      const bytes = encodeMessage({ ...fields, snapshot: one })
      expect(bytes).toEqual(encodeMessage({ ...fields, snapshot: encodeSnapshot(one) }))
      const [offer] = new FrameDecoder().push(bytes)
      if (offer?.type !== 'offer') throw new Error('no offer')
      expect(decodeSnapshot(offer.snapshot).send).toEqual(one.send)
    }),
  )
})
