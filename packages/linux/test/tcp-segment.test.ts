import { expect, test } from 'bun:test'
import { FlowKey } from '@xoffload/core'
import { encodeSegment } from '../src/tcp/segment.ts'

/** RFC 1071: over the pseudo-header and a segment with a right checksum, the ones' complement sum is 0xffff. */
function onesComplementSum(...parts: Uint8Array[]): number {
  let sum = 0
  for (const part of parts) {
    for (let index = 0; index < part.length; index += 2) {
      sum += ((part[index] as number) << 8) | (part[index + 1] ?? 0)
      if (sum > 0xffff) sum -= 0xffff
    }
  }
  return sum
}

const pseudoHeaderEnd = Uint8Array.of(0, 20, 0, 6)

test('an IPv4 segment has the flow, the sequence number and a right checksum', () => {
  const flow = FlowKey.of({ address: '192.0.2.1', port: 40000 }, { address: '198.51.100.2', port: 443 })
  const packet = encodeSegment(flow, { sequence: 0xfedcba98 })
  expect(packet.length).toBe(40)
  expect([...packet.subarray(12, 20)]).toEqual([192, 0, 2, 1, 198, 51, 100, 2])
  expect([...packet.subarray(20, 28)]).toEqual([0x9c, 0x40, 0x01, 0xbb, 0xfe, 0xdc, 0xba, 0x98])
  expect(onesComplementSum(packet.subarray(12, 20), pseudoHeaderEnd, packet.subarray(20))).toBe(0xffff)
})

test('an IPv6 segment has the flow, its length and a right checksum', () => {
  const flow = FlowKey.of({ address: '2001:db8::ffff', port: 1 }, { address: '2001:db8::2', port: 65535 })
  const packet = encodeSegment(flow, { sequence: 1, acknowledgement: 0x01020304, window: 0xabcd, fin: true })
  expect(packet.length).toBe(60)
  expect([...packet.subarray(0, 8)]).toEqual([0x60, 0, 0, 0, 0, 20, 6, 64])
  expect(packet.subarray(8, 40)).toEqual(flow.bytes.subarray(0, 32))
  expect([...packet.subarray(44, 56)]).toEqual([0, 0, 0, 1, 1, 2, 3, 4, 0x50, 0x11, 0xab, 0xcd])
  expect(onesComplementSum(packet.subarray(8, 40), pseudoHeaderEnd, packet.subarray(40))).toBe(0xffff)
})

test.each([
  { length: 1448, total: 1480 },
  { length: 3, total: 35 },
])('$length bytes of data follow the timestamps, and are in length and checksum', ({ length, total }) => {
  const flow = FlowKey.of({ address: '2001:db8::1', port: 1 }, { address: '2001:db8::2', port: 2 })
  const payload = Uint8Array.from({ length }, (_, index) => index + 7)
  const packet = encodeSegment(flow, { sequence: 1, timestamp: 0xfedcba98, payload })
  expect(packet.length).toBe(40 + total)
  expect([...packet.subarray(4, 6)]).toEqual([total >> 8, total & 0xff])
  expect(packet[52]).toBe(0x80)
  expect([...packet.subarray(60, 72)]).toEqual([1, 1, 8, 10, 0xfe, 0xdc, 0xba, 0x98, 0, 0, 0, 0])
  expect(packet.subarray(72)).toEqual(payload)
  const pseudoHeaderTail = Uint8Array.of(total >> 8, total & 0xff, 0, 6)
  expect(onesComplementSum(packet.subarray(8, 40), pseudoHeaderTail, packet.subarray(40))).toBe(0xffff)
})
