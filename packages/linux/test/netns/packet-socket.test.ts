import { afterEach, beforeEach, expect, test } from 'bun:test'
import { PacketSocket, type PacketSocketOptions, Rtnetlink } from '@xoffload/linux'
import { AF_PACKET } from '../../src/socket/constants.ts'
import { openSocketsOf } from '../tcp-support.ts'
import { errnoOf, TestNamespace } from './test-namespace.ts'

let namespace: TestNamespace
beforeEach(() => {
  namespace = new TestNamespace()
})
afterEach(() => namespace[Symbol.dispose]())

function open(device: string, options: Omit<PacketSocketOptions, 'device'> = {}): PacketSocket {
  return namespace.inside(() => {
    using rtnetlink = new Rtnetlink()
    return PacketSocket.open({ device: rtnetlink.link(device)?.index ?? -1, ...options })
  })
}

/** An Ethernet frame of an experimental type (IEEE 802 local experimental EtherType 1). */
function frame(text: string): Uint8Array {
  const ethernet = [...new Uint8Array(6).fill(0xff), 2, 0, 0, 0, 0, 1, 0x88, 0xb5]
  return Uint8Array.from([...ethernet, ...Buffer.from(text.padEnd(46))])
}

/** The experimental frames that a socket has: the kernel itself sends router solicitations and the like. */
function frames(socket: PacketSocket): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let next = socket.read(); next !== undefined; next = socket.read()) {
    if (next[12] === 0x88 && next[13] === 0xb5) found.push(next)
  }
  return found
}

test('a frame written to one end of a veth pair is read at the other', () => {
  using sender = open('veth0')
  using receiver = open('veth1')
  sender.write(frame('first'))
  sender.write(frame('second'))
  // A veth delivers within the write.
  expect(frames(receiver)).toEqual([frame('first'), frame('second')])
  // A socket does not hear itself.
  expect(frames(sender)).toEqual([])
  expect(receiver.read()).toBeUndefined()
})

test('what another program sends is seen, and left out with ignoreOutgoing', () => {
  using sender = open('veth0')
  using watcher = open('veth0')
  using deaf = open('veth0', { ignoreOutgoing: true })
  sender.write(frame('x'))
  expect(frames(watcher)).toEqual([frame('x')])
  expect(frames(deaf)).toEqual([])
})

test('only as much of a frame is kept as asked for', () => {
  using sender = open('veth0')
  using receiver = open('veth1', { snapLength: 20 })
  sender.write(frame('abcdefgh'))
  expect(frames(receiver)).toEqual([frame('abcdefgh').subarray(0, 20)])
})

test('the VLAN tag that the kernel takes off is in the frame when it is asked for', () => {
  using sender = open('veth0')
  using plain = open('veth1')
  using receiver = open('veth1', { vlanTags: true })
  const untagged = frame('tagged')
  const tagged = Uint8Array.from([...untagged.subarray(0, 12), 0x81, 0x00, 0x60, 0x05, ...untagged.subarray(12)])
  sender.write(tagged)
  sender.write(untagged)
  expect(frames(plain)).toEqual([untagged, untagged])
  const found: Uint8Array[] = []
  for (let next = receiver.read(); next !== undefined; next = receiver.read()) found.push(next)
  expect(found.filter((bytes) => [tagged.length, untagged.length].includes(bytes.length))).toEqual([tagged, untagged])
})

test('the time of a frame is when it passed, not when it is read', async () => {
  using sender = open('veth0')
  using receiver = open('veth1', { timestamps: true })
  expect(receiver.timestamp()).toBeUndefined()
  // The kernel begins a moment later, when a worker thread of its own has run.
  for (;;) {
    const before = Date.now()
    sender.write(frame('timed'))
    const after = Date.now() + 1
    await Bun.sleep(5)
    let next = receiver.read()
    while (next !== undefined && next[12] !== 0x88) next = receiver.read()
    expect(next).toEqual(frame('timed'))
    const time = Number(receiver.timestamp() ?? 0n) / 1e6
    expect(time).toBeGreaterThanOrEqual(before)
    if (time < after) return
  }
})

test('frames without room are dropped and counted', () => {
  using sender = open('veth0')
  using receiver = open('veth1', { receiveBuffer: 4096 })
  for (let count = 0; count < 200; count++) sender.write(frame(`${count}`))
  const { received, dropped } = receiver.statistics()
  expect(dropped).toBeGreaterThan(100)
  expect(received + dropped).toBeGreaterThanOrEqual(200)
  expect(receiver.statistics()).toEqual({ received: 0, dropped: 0 })
})

test('errors have names, and no file descriptor is left', () => {
  const before = openSocketsOf(AF_PACKET)
  expect(errnoOf(() => PacketSocket.open({ device: 0x7ffffff }))).toBe('ENODEV')
  const socket = open('veth0')
  expect(errnoOf(() => socket.write(new Uint8Array(5)))).toBe('EINVAL')
  expect(errnoOf(() => socket.write(new Uint8Array(9000)))).toBe('EMSGSIZE')
  socket.close()
  socket.close()
  expect(openSocketsOf(AF_PACKET)).toBe(before)
})
