/** The order in which delayed frames go on. */
import { expect, test } from 'bun:test'
import { VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import fc from 'fast-check'
import { DelayLine } from '../src/faults/delay-line.ts'

/** As the BPF program sends it: virtio-net header, `struct faults_wait`, and a frame that is nothing but its number. */
function received(number: number, wait: number, reorder: number): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_NET_HEADER_LENGTH + 8 + 4)
  const view = new DataView(bytes.buffer)
  view.setUint32(VIRTIO_NET_HEADER_LENGTH, wait, true)
  view.setUint32(VIRTIO_NET_HEADER_LENGTH + 4, reorder, true)
  view.setUint32(VIRTIO_NET_HEADER_LENGTH + 8, number, true)
  return bytes
}

const arrival = fc.record({ pause: fc.nat(50), wait: fc.nat(100), reorder: fc.constantFrom(0, 0, 70), way: fc.nat(1) })

test('frames come when they are due, and overtake only those that are to be reordered', () => {
  fc.assert(
    fc.property(fc.array(arrival, { maxLength: 60, size: 'max' }), (arrivals) => {
      const line = new DelayLine<number>()
      let now = 0
      const dues: number[] = []
      const latest = [0, 0]
      for (const [number, { pause, wait, reorder, way }] of arrivals.entries()) {
        now += pause
        line.push(received(number, wait, reorder), way, now)
        const inOrder = Math.max(now + wait, latest[way] ?? 0)
        if (reorder === 0) latest[way] = inOrder
        dues.push(inOrder + reorder)
      }
      const expected = dues.map((due, number) => ({ due, number })).sort((a, b) => a.due - b.due || a.number - b.number)
      for (const { due, number } of expected) {
        expect(line.nextDue).toBe(due)
        expect(line.take(due - 1)).toBeUndefined()
        const entry = line.take(due)
        expect(entry?.destination).toBe(arrivals[number]?.way as number)
        expect(entry?.frame.at(VIRTIO_NET_HEADER_LENGTH)).toBe(number)
      }
      expect(line.nextDue).toBeUndefined()
    }),
  )
})

test('what goes on is the frame as it was, with its offsets', () => {
  const line = new DelayLine<string>()
  const bytes = received(7, 0, 0)
  const view = new DataView(bytes.buffer)
  // Checksum to be filled in, TCP over IPv4, header length, segment size, checksum's start and place: all behind the wait.
  bytes.set([1, 1])
  for (const [index, value] of [66 + 8, 1448, 34 + 8, 16].entries()) view.setUint16(2 + 2 * index, value, true)
  line.push(bytes, 'there', 0)
  const frame = line.take(0)?.frame ?? new Uint8Array()
  expect([...frame.subarray(0, 2)]).toEqual([1, 1])
  const after = new DataView(frame.buffer, frame.byteOffset)
  expect([2, 4, 6, 8].map((offset) => after.getUint16(offset, true))).toEqual([66, 1448, 34, 16])
  expect([...frame.subarray(VIRTIO_NET_HEADER_LENGTH)]).toEqual([7, 0, 0, 0])
})

test('what waits is limited', () => {
  const line = new DelayLine<string>()
  const large = new Uint8Array(64 * 1024 * 1024)
  large.set(received(0, 1000, 0))
  expect(() => {
    for (let count = 0; count < 9; count++) line.push(large, 'there', 0)
  }).toThrow('send less or delay less')
})
