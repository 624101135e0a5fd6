// Client bytes are overwritten as soon as nobody uses them any more (DESIGN.md, invariant 9).
import { expect, test } from 'bun:test'
import { encodeMessage, FlowKey, type OfferMessage, type TcpSnapshot } from '@xoffload/core'
import { defaultControlLimits } from '../../src/control/limits.ts'
import { OutgoingBuffer } from '../../src/control/outgoing.ts'
import { socketRestorer } from '../../src/runtime/restored-socket.ts'
import { offer, opened } from './support.ts'

const SECRET = new Uint8Array(1000).fill(0x5a)
const isWiped = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)

function snapshot(service = '127.0.0.1'): TcpSnapshot {
  return {
    flow: FlowKey.of({ address: '127.0.0.1', port: 40_000 }, { address: service, port: 20_080 }),
    options: { maximumSegmentSize: 1460, selectiveAcknowledgement: true },
    window: {
      sendLastUpdate: 1,
      sendWindow: 65_535,
      maximumWindow: 65_535,
      receiveWindow: 30_000,
      receiveLastUpdate: 1000,
    },
    send: { sequence: 1, sent: SECRET.slice(), unsent: SECRET.slice() },
    receive: { sequence: 1, queue: SECRET.slice() },
  }
}

const queuesOf = ({ send, receive }: TcpSnapshot) => [send.sent, receive.queue, send.unsent]

test.each(['decoded', 'encoded'] as const)(
  'what was offered, the snapshot %s, and the frame that was written',
  async (form) => {
    const { connection, channel, written } = opened()
    const taken = snapshot()
    const application = SECRET.slice()
    const message = { ...offer(1, 1000), ...(form === 'decoded' && { snapshot: taken }), application }
    const bytes = [...(form === 'decoded' ? queuesOf(taken) : [message.snapshot as Uint8Array]), application]
    expect(bytes.some(isWiped)).toBe(false)
    channel.send(message)
    expect(bytes.every(isWiped)).toBe(true)
    await Promise.resolve()
    expect(written.length).toBeGreaterThan(1)
    expect(written.every(isWiped)).toBe(true)
    connection.close()
  },
)

test('a snapshot that could not be offered', () => {
  const { connection, channel } = opened({ ...defaultControlLimits, message: 100, outgoing: 100 })
  const [long, late, application] = [snapshot(), snapshot(), SECRET.slice()]
  expect(() => channel.send({ ...offer(1, 0), snapshot: long })).toThrow('at most 100')
  connection.close()
  expect(() => channel.send({ ...offer(2, 0), snapshot: late, application })).toThrow('no control connection')
  expect([...queuesOf(long), ...queuesOf(late), application].every(isWiped)).toBe(true)
})

test('frames that were joined, and those that were never written', () => {
  const buffer = new OutgoingBuffer()
  const frames = [SECRET.slice(), SECRET.slice(), new Uint8Array(300_000).fill(0x5a)]
  for (const frame of frames) buffer.push(frame)
  const joined = buffer.next() ?? new Uint8Array()
  expect([joined.length, isWiped(joined)]).toEqual([2000, false])
  expect(frames.map(isWiped)).toEqual([true, true, false])
  buffer.consume(2000)
  expect(isWiped(joined)).toBe(true)
  buffer.consume(10)
  buffer.clear()
  expect(frames.map(isWiped)).toEqual([true, true, true])
})

test.each([1, 7, 100_000])('what has come, in chunks of %d bytes, when its messages have been read', (size) => {
  const { connection, messages } = opened()
  const expected = offer(1, 5000)
  // As Bun hands it over: a Buffer, whose `slice` is no copy.
  const frame = Buffer.from(encodeMessage(expected))
  for (let start = 0; start < frame.length; start += size) connection.receive(frame.subarray(start, start + size))
  expect(isWiped(frame)).toBe(true)
  expect(Bun.deepEquals((messages[0] as OfferMessage).snapshot, expected.snapshot)).toBe(true)
  connection.close()
})

test('a snapshot that was restored, but for what is still to be sent', () => {
  const restored = snapshot()
  const connection = socketRestorer.restore(restored)
  expect(queuesOf(restored).map(isWiped)).toEqual([true, true, false])
  expect(connection.unsent).toEqual(SECRET)
  connection.discard()
  expect(isWiped(connection.unsent)).toBe(true)
})

test('a snapshot that the kernel refused', () => {
  const refused = snapshot('192.0.2.1')
  expect(() => socketRestorer.restore(refused)).toThrow('EADDRNOTAVAIL')
  expect(queuesOf(refused).every(isWiped)).toBe(true)
})
