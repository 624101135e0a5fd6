import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  CodecError,
  decodeSnapshot,
  encodeSnapshot,
  hasUnacknowledgedBytes,
  MAXIMUM_QUEUE_LENGTH,
  snapshotLength,
  type TcpSnapshot,
} from '../src/index.ts'
import { snapshot } from './support/arbitraries.ts'

const [example] = fc.sample(
  snapshot.filter((one) => one.options.windowScale !== undefined && one.options.timestamp !== undefined),
  { numRuns: 1, seed: 1 },
) as [TcpSnapshot]

/** Encodes the example, then writes over some of its bytes. */
function altered(offset: number, ...values: number[]): Uint8Array {
  const bytes = encodeSnapshot(example)
  bytes.set(values, offset)
  return bytes
}

describe('snapshot codec', () => {
  test('decodes what it encoded', () => {
    fc.assert(
      fc.property(snapshot, (original) => {
        const bytes = encodeSnapshot(original)
        expect(bytes.length).toBe(snapshotLength(original))
        const decoded = decodeSnapshot(bytes)
        expect(decoded.flow.equals(original.flow)).toBe(true)
        const { flow: _, ...rest } = decoded
        const { flow: __, ...expected } = original
        expect(rest).toEqual(expected)
      }),
    )
  })

  test('carries that the client has sent its FIN, and nothing of it otherwise', () => {
    const receive = { sequence: 7, queue: Uint8Array.of(1) }
    const decode = (fin?: boolean) =>
      decodeSnapshot(encodeSnapshot({ ...example, receive: { ...receive, ...(fin !== undefined && { fin }) } })).receive
    expect(decode(true)).toEqual({ ...receive, fin: true })
    expect(decode(false)).toEqual(receive)
    expect(decode()).toEqual(receive)
  })

  test('decodes from the middle of a greater buffer', () => {
    const bytes = encodeSnapshot(example)
    const greater = new Uint8Array(bytes.length + 20).fill(0xee)
    greater.set(bytes, 7)
    const decoded = decodeSnapshot(greater.subarray(7, 7 + bytes.length))
    expect(decoded.send).toEqual(example.send)
    expect(decoded.receive).toEqual(example.receive)
  })

  test('keeps an absent option absent: a timestamp of zero is not no timestamp', () => {
    const { timestamp: _, windowScale: __, ...bare } = example.options
    const without = decodeSnapshot(encodeSnapshot({ ...example, options: bare })).options
    expect(Object.keys(without).sort()).toEqual(['maximumSegmentSize', 'selectiveAcknowledgement'])
    const zero = { ...bare, timestamp: 0, windowScale: { send: 0, receive: 0 } }
    expect(decodeSnapshot(encodeSnapshot({ ...example, options: zero })).options).toEqual(zero)
  })

  test('refuses every prefix and every extension', () => {
    const bytes = encodeSnapshot(example)
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSnapshot(bytes.subarray(0, length))).toThrow(CodecError)
    }
    expect(() => decodeSnapshot(Uint8Array.of(...bytes, 0))).toThrow('1 bytes too many')
  })

  test('random bytes and random changes are decoded to something that encodes the same, or refused', () => {
    const check = (bytes: Uint8Array): void => {
      let decoded: TcpSnapshot
      try {
        decoded = decodeSnapshot(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError)
        return
      }
      expect(encodeSnapshot(decoded)).toEqual(bytes)
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), check))
    const change = fc.record({ at: fc.nat(), value: fc.nat(255) })
    fc.assert(
      fc.property(snapshot, fc.array(change, { minLength: 1, maxLength: 4 }), (original, changes) => {
        const bytes = encodeSnapshot(original)
        // Half of the changes go to the header, where they mean more.
        for (const [index, { at, value }] of changes.entries()) bytes[at % (index % 2 ? bytes.length : 90)] = value
        check(bytes)
      }),
      { numRuns: 1000 },
    )
  })

  test.each([
    ['magic', altered(0, 0), 'no snapshot'],
    ['version', altered(4, 1), 'version 1'],
    ['version', altered(4, 3), 'version 3'],
    ['flags', altered(5, 0x17), 'unknown flags'],
    ['maximum segment size', altered(6, 0, 0), 'maximum segment size 0'],
    ['flow', altered(8 + 32, 0, 0), 'port 0'],
    ['window scale', altered(44, 15), '0 to 14'],
    ['window scale', altered(45, 255), '0 to 14'],
    ['send window', altered(54, 0x3f, 0xff, 0xc0, 0, 0, 0, 0, 1), 'send window'],
    ['maximum window', altered(58, 0x3f, 0xff, 0xc0, 1), 'window'],
    ['receive window', altered(62, 0xff, 0xff, 0xff, 0xff), 'window'],
    ['sent', altered(74, 0x01, 0, 0, 1), 'at most'],
    ['unsent', altered(78, 0xff, 0xff, 0xff, 0xff), 'at most'],
    ['receive queue', altered(86, 0x01, 0, 0, 1), 'at most'],
  ])('refuses a bad %s', (_field, bytes, text) => {
    expect(() => decodeSnapshot(bytes)).toThrow(text)
  })

  test('refuses values of options that were not negotiated', () => {
    expect(() => decodeSnapshot(altered(5, 4))).toThrow('window scale that was not negotiated')
    const scaleOnly = altered(5, 1)
    scaleOnly.set([0, 0, 0, 1], 46)
    expect(() => decodeSnapshot(scaleOnly)).toThrow('timestamp that was not negotiated')
  })

  test('honours a smaller limit and not a greater one', () => {
    const bytes = encodeSnapshot({ ...example, send: { ...example.send, sent: new Uint8Array(11) } })
    expect(() => decodeSnapshot(bytes, { maximumQueueLength: 10 })).toThrow('at most 10')
    expect(() => decodeSnapshot(altered(74, 0x01, 0, 0, 1), { maximumQueueLength: Number.POSITIVE_INFINITY })).toThrow(
      'at most',
    )
  })

  test('does not encode what it would not decode', () => {
    const { send, receive, options, window } = example
    const long = new Uint8Array(MAXIMUM_QUEUE_LENGTH + 1)
    const bad: TcpSnapshot[] = [
      { ...example, send: { ...send, sent: long } },
      { ...example, send: { ...send, unsent: long } },
      { ...example, receive: { ...receive, queue: long } },
      { ...example, send: { ...send, sequence: -1 } },
      { ...example, receive: { ...receive, sequence: 2 ** 32 } },
      { ...example, options: { ...options, maximumSegmentSize: 0 } },
      { ...example, options: { ...options, maximumSegmentSize: 65536 } },
      { ...example, options: { ...options, windowScale: { send: 15, receive: 0 } } },
      { ...example, options: { ...options, windowScale: { send: 0, receive: -1 } } },
      { ...example, options: { ...options, timestamp: 1.5 } },
      { ...example, window: { ...window, sendWindow: window.maximumWindow + 1 } },
      { ...example, window: { ...window, receiveWindow: 2 ** 30 } },
      { ...example, window: { ...window, sendLastUpdate: Number.NaN } },
    ]
    for (const one of bad) expect(() => encodeSnapshot(one)).toThrow(CodecError)
  })

  test('carries queues of the greatest length', () => {
    const full = new Uint8Array(MAXIMUM_QUEUE_LENGTH).fill(7)
    const decoded = decodeSnapshot(encodeSnapshot({ ...example, send: { ...example.send, sent: full } }))
    expect(decoded.send.sent.length).toBe(MAXIMUM_QUEUE_LENGTH)
    expect(decoded.send.unsent).toEqual(example.send.unsent)
  })
})

test('bytes are unacknowledged when the last update of the receive window lies before the end of the queue', () => {
  const receive = { sequence: 0xffff_fffe, queue: new Uint8Array(5) }
  const at = (receiveLastUpdate: number): boolean =>
    hasUnacknowledgedBytes({ ...example, receive, window: { ...example.window, receiveLastUpdate } })
  expect(at(3)).toBe(false)
  expect(at(0xffff_fffe)).toBe(true)
})

test('a FIN is acknowledged with the sequence number behind it', () => {
  const receive = { sequence: 0xffff_fffe, queue: new Uint8Array(1), fin: true }
  const at = (receiveLastUpdate: number): boolean =>
    hasUnacknowledgedBytes({ ...example, receive, window: { ...example.window, receiveLastUpdate } })
  expect(at(0)).toBe(false)
  expect(at(0xffff_ffff)).toBe(true)
})
