// Invariant 6, second half: queues, and sequence numbers of their start.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { TcpSnapshot } from '@xoffload/core'
import {
  closeSilently,
  freeze,
  read,
  restore,
  takeSnapshot,
  thaw,
  unacknowledgedBytes,
  unreadBytes,
  unsentBytes,
  write,
} from '../../src/index.ts'
import { SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SOL_SOCKET } from '../../src/socket/constants.ts'
import { getOption, setOption } from '../../src/socket/options.ts'
import { discard, eventually, type Pair, ramp, readExactly, tcpInfoField, writeAll } from '../tcp-support.ts'
import { TwoHosts } from './tcp-namespace.ts'

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
})
afterAll(() => hosts.close())

const families = [4, 6] as const
const MEBIBYTE = 1024 * 1024

function takeAway(fd: number, options?: { putBack?: Uint8Array }): TcpSnapshot {
  freeze(fd)
  const snapshot = takeSnapshot(fd, options)
  closeSilently(fd)
  return snapshot
}

function bringBack(snapshot: TcpSnapshot): { fd: number; unsent: Uint8Array } {
  return hosts.service.run(() => restore(snapshot))
}

/** Both directions go on, and nobody was reset. `fromClient` and `fromService` are how far the ramps have come. */
async function expectWorking(
  { client, service }: Omit<Pair, 'listener'>,
  fromClient = 0,
  fromService = 0,
): Promise<void> {
  write(client, ramp(700, fromClient))
  expect(await readExactly(service, 700)).toEqual(ramp(700, fromClient))
  write(service, ramp(700, fromService))
  expect(await readExactly(client, 700)).toEqual(ramp(700, fromService))
  await eventually('acknowledgements', () => unacknowledgedBytes(client) === 0 && unacknowledgedBytes(service) === 0)
  expect(hosts.client.counter('OutRsts') + hosts.service.counter('OutRsts')).toBe(0)
}

test.each(families)('IPv%d: empty queues', async (family) => {
  const { client, service, listener } = hosts.connect(family)
  const snapshot = takeAway(service)
  expect(snapshot.flow.family).toBe(family)
  expect([snapshot.send.sent.length, snapshot.send.unsent.length, snapshot.receive.queue.length]).toEqual([0, 0, 0])
  const { fd } = bringBack(snapshot)
  await expectWorking({ client, service: fd })
  discard(client, fd, listener)
})

test.each(families)('IPv%d: a receive queue, and bytes put back in front of it', async (family) => {
  const { client, service, listener } = hosts.connect(family)
  write(client, ramp(40_000))
  await eventually('the bytes', () => unreadBytes(service) === 40_000)
  const consumed = await readExactly(service, 300)
  freeze(service)
  const plain = takeSnapshot(service)
  const snapshot = takeAway(service, { putBack: consumed })
  expect(snapshot.receive.queue).toEqual(ramp(40_000))
  expect((plain.receive.sequence - snapshot.receive.sequence) | 0).toBe(300)
  const { fd } = bringBack(snapshot)
  expect(unreadBytes(fd)).toBe(40_000)
  expect(await readExactly(fd, 40_000)).toEqual(ramp(40_000))
  await expectWorking({ client, service: fd }, 40_000)
  discard(client, fd, listener)
})

test.each(families)('IPv%d: a send queue whose acknowledgements were lost', async (family) => {
  const { client, service, listener } = hosts.connect(family)
  hosts.mute('client')
  write(service, ramp(5000))
  const snapshot = takeAway(service)
  hosts.unmute('client')
  expect(snapshot.send.sent).toEqual(ramp(5000))
  expect(snapshot.send.unsent.length).toBe(0)
  const { fd, unsent } = bringBack(snapshot)
  expect(unsent.length).toBe(0)
  expect(unacknowledgedBytes(fd)).toBe(5000)
  // The client has the bytes, but does not say so: the restored socket repeats them, which must not show.
  expect(await readExactly(client, 5000)).toEqual(ramp(5000))
  await eventually('acknowledgements', () => unacknowledgedBytes(fd) === 0)
  await expectWorking({ client, service: fd }, 0, 5000)
  discard(client, fd, listener)
})

test.each(families)('IPv%d: unsent data is returned and not sent', async (family) => {
  const { client, service, listener } = hosts.connect(family)
  // Nobody reads at the client: its window closes, and the rest stays unsent.
  const total = writeAll(service, ramp(8 * MEBIBYTE))
  await eventually(
    'a full window',
    () => unsentBytes(service) > 0 && unsentBytes(service) === unacknowledgedBytes(service),
  )
  const snapshot = takeAway(service)
  const unsentLength = snapshot.send.unsent.length
  expect(unsentLength).toBeGreaterThan(0)
  expect(snapshot.send.unsent).toEqual(ramp(unsentLength, total - unsentLength))
  const { fd, unsent } = bringBack(snapshot)
  expect(unacknowledgedBytes(fd)).toBe(snapshot.send.sent.length)

  // All the rest is what was really sent: the client has it, and nothing is sent again.
  await eventually('the rest at the client', () => unreadBytes(client) === total - unsentLength)
  expect(tcpInfoField(fd, 'totalRetransmissions')).toBe(0)
  const received = await readExactly(client, total - unsentLength)
  expect(received).toEqual(ramp(total - unsentLength))
  let written = 0
  for (let have = 0; have < unsentLength; ) {
    written += writeAll(fd, unsent.subarray(written))
    const part = await readExactly(client, Math.min(16_384, unsentLength - have))
    expect(part).toEqual(unsent.slice(have, have + part.length))
    have += part.length
  }
  await expectWorking({ client, service: fd }, 0, total)
  discard(client, fd, listener)
})

test('a thawed socket goes on with all its queues', async () => {
  const { client, service, listener } = hosts.connect(4)
  write(client, ramp(3000))
  await eventually('the bytes', () => unreadBytes(service) === 3000)
  hosts.mute('client')
  write(service, ramp(3000))
  freeze(service)
  const snapshot = takeSnapshot(service)
  expect(snapshot.receive.queue).toEqual(ramp(3000))
  expect(snapshot.send.sent).toEqual(ramp(3000))
  thaw(service)
  hosts.unmute('client')
  expect(await readExactly(service, 3000)).toEqual(ramp(3000))
  expect(await readExactly(client, 3000)).toEqual(ramp(3000))
  await expectWorking({ client, service }, 3000, 3000)
  discard(client, service, listener)
})

test('a receive queue of 2 MiB', async () => {
  const { client, service, listener } = hosts.connect(4, (fd) => {
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 * MEBIBYTE, 'setsockopt')
    setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, 8 * MEBIBYTE, 'setsockopt')
  })
  expect(writeAll(client, ramp(2 * MEBIBYTE))).toBe(2 * MEBIBYTE)
  await eventually('2 MiB', () => unreadBytes(service) === 2 * MEBIBYTE)
  const snapshot = takeAway(service)
  expect(snapshot.receive.queue).toEqual(ramp(2 * MEBIBYTE))
  // The kernel must not help by growing the buffer under pressure: its own limit is far below.
  hosts.service.sysctl('net.ipv4.tcp_rmem', '4096 131072 262144')
  const { fd } = bringBack(snapshot)
  expect(unreadBytes(fd)).toBe(2 * MEBIBYTE)

  // What the origin offered still fits, though nobody has read a byte: nothing is dropped and sent again.
  expect(writeAll(client, ramp(MEBIBYTE, 2 * MEBIBYTE))).toBe(MEBIBYTE)
  await eventually('3 MiB', () => unreadBytes(fd) === 3 * MEBIBYTE)
  expect(tcpInfoField(client, 'totalRetransmissions')).toBe(0)
  expect(await readExactly(fd, 3 * MEBIBYTE)).toEqual(ramp(3 * MEBIBYTE))
  await expectWorking({ client, service: fd }, 3 * MEBIBYTE)
  hosts.service.sysctl('net.ipv4.tcp_rmem', '4096 131072 6291456')
  discard(client, fd, listener)
})

test('a sent queue of 2 MiB that the client never got is sent again', async () => {
  const { client, service, listener } = hosts.connect(4, (fd) =>
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 * MEBIBYTE, 'setsockopt'),
  )
  // As if the service had sent that much and every segment had been lost.
  const snapshot = takeAway(service)
  const { fd } = bringBack({ ...snapshot, send: { ...snapshot.send, sent: ramp(2 * MEBIBYTE) } })
  expect(unacknowledgedBytes(fd)).toBe(2 * MEBIBYTE)
  expect(unsentBytes(fd)).toBe(0)
  expect(await readExactly(client, 2 * MEBIBYTE)).toEqual(ramp(2 * MEBIBYTE))
  await expectWorking({ client, service: fd }, 0, 2 * MEBIBYTE)
  discard(client, fd, listener)
  // A restored socket has no round-trip time yet: its first retransmission timeouts are those of a new connection.
}, 15_000)

test('the buffers of a restored socket are still tuned by the kernel', async () => {
  const { client, service, listener } = hosts.connect(4)
  write(client, ramp(60_000))
  await eventually('the bytes', () => unreadBytes(service) === 60_000)
  const snapshot = takeAway(service)
  const big = { ...snapshot, window: { ...snapshot.window, receiveWindow: 200_000 } }
  const { fd } = bringBack(big)
  const receiveBuffer = () => getOption(fd, SOL_SOCKET, SO_RCVBUF, 'getsockopt')
  const before = receiveBuffer()
  expect(before).toBeGreaterThan(400_000)
  await readExactly(fd, 60_000)
  const buffer = new Uint8Array(MEBIBYTE)
  await eventually('a larger receive buffer', () => {
    writeAll(client, buffer)
    while (read(fd, buffer) !== undefined);
    return receiveBuffer() > before
  })
  discard(client, fd, listener)
})
