// What the kernel does in repair mode. The code leans on each of these; a kernel that behaves otherwise shows here.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  acknowledge,
  closeFd,
  closeSilently,
  freeze,
  restore,
  sendWindowProbe,
  takeSnapshot,
  thaw,
  unacknowledgedBytes,
  unreadBytes,
  write,
} from '../../src/index.ts'
import { IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET } from '../../src/socket/constants.ts'
import { setOption } from '../../src/socket/options.ts'
import { TCP_REPAIR, TCP_REPAIR_OFF, TCP_REPAIR_OFF_NO_WP } from '../../src/tcp/constants.ts'
import { tcpInfo } from '../../src/tcp/info.ts'
import {
  bindSocket,
  connectedPair,
  discard,
  eventually,
  freshPort,
  listen,
  ramp,
  readExactly,
  tcpInfoField,
  tcpSocket,
  thrownBy,
} from '../tcp-support.ts'
import { ip, TwoHosts } from './tcp-namespace.ts'

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
  // No retransmission timer of the client interferes: only what a test does moves anything.
  hosts.client.run(() => {
    ip('route add 10.0.0.2/32 dev wire rto_min 10s')
    ip('route add fd00::2/128 dev wire rto_min 10s')
  })
})
afterAll(() => hosts.close())

const address = '127.0.0.1'

test('bind to the port of a listener succeeds inside repair mode only', () => {
  const port = freshPort()
  const listener = listen({ address, port })
  const outside = tcpSocket(address)
  expect(thrownBy(() => bindSocket(outside, address, port))).toMatchObject({ errno: 'EADDRINUSE' })
  const inside = tcpSocket(address)
  freeze(inside)
  bindSocket(inside, address, port)
  for (const fd of [listener, outside, inside]) closeFd(fd)
})

test('SO_REUSEADDR inside repair mode takes the forced reuse away', () => {
  const port = freshPort()
  const listener = listen({ address, port })
  const fd = tcpSocket(address)
  freeze(fd)
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt')
  expect(thrownBy(() => bindSocket(fd, address, port))).toMatchObject({ errno: 'EADDRINUSE' })
  closeFd(fd)
  closeFd(listener)
})

test('leaving repair mode clears SO_REUSEADDR, which keeps new listeners off the port; thaw mends that', () => {
  const port = freshPort()
  const { client, service, listener } = connectedPair(address, port)
  closeFd(listener)
  freeze(service)
  setOption(service, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, 'setsockopt')
  expect(thrownBy(() => listen({ address, port }))).toMatchObject({ errno: 'EADDRINUSE' })
  freeze(service)
  thaw(service)
  closeFd(listen({ address, port }))
  discard(client, service)
})

test('a new listener can bind to the port of a restored connection', () => {
  const port = freshPort()
  const { client, service, listener } = connectedPair(address, port)
  closeFd(listener)
  freeze(service)
  const snapshot = takeSnapshot(service)
  closeSilently(service)
  const { fd } = restore(snapshot)
  closeFd(listen({ address, port }))
  discard(client, fd)
})

test('a silent close sends nothing, and what comes later draws an RST', async () => {
  const { client, service, listener } = hosts.connect(4)
  const sent = () => hosts.service.counter('OutSegs') + hosts.service.counter('OutRsts')
  const before = sent()
  closeSilently(service)
  expect(sent()).toBe(before)
  expect(tcpInfo(client).state).toBe('ESTABLISHED')

  write(client, ramp(1))
  await eventually('the RST', () => tcpInfo(client).state === 'CLOSE')
  for (const fd of [client, listener]) closeFd(fd)
})

test('thaw sends nothing, the socket works on; leaving repair mode with 0 sends a window probe', async () => {
  const { client, service, listener } = hosts.connect(4)
  const segments = () => hosts.service.counter('OutSegs')
  const before = segments()
  freeze(service)
  takeSnapshot(service)
  thaw(service)
  expect(segments()).toBe(before)
  write(service, ramp(1000))
  expect(await readExactly(client, 1000)).toEqual(ramp(1000))
  write(client, ramp(1000))
  expect(await readExactly(service, 1000)).toEqual(ramp(1000))

  const probes = hosts.service.counter('TCPWinProbe')
  freeze(service)
  setOption(service, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF, 'setsockopt')
  expect(hosts.service.counter('TCPWinProbe')).toBe(probes + 1)
  discard(client, service, listener)
})

/** The client sent 100 bytes; the host has them, but its acknowledgement was lost; then the connection was restored. */
async function restoredWithoutAcknowledgement(family: 4 | 6) {
  const { client, service, listener } = hosts.connect(family)
  hosts.mute('service')
  write(client, ramp(100))
  await eventually('the bytes', () => unreadBytes(service) === 100)
  freeze(service)
  const snapshot = takeSnapshot(service)
  closeSilently(service)
  const { fd } = hosts.service.run(() => restore(snapshot))
  hosts.unmute('service')
  expect(unacknowledgedBytes(client)).toBe(100)
  expect(tcpInfoField(client, 'totalRetransmissions')).toBe(0)
  return { client, fd, listener }
}

test('a window probe acknowledges nothing: its sequence number is outside the window', async () => {
  const { client, fd, listener } = await restoredWithoutAcknowledgement(4)
  const received = hosts.client.counter('InSegs')
  freeze(fd)
  setOption(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF, 'setsockopt')
  await eventually('the probe at the client', () => hosts.client.counter('InSegs') > received)
  expect(unacknowledgedBytes(client)).toBe(100)
  discard(client, fd, listener)
})

test.each([4, 6] as const)('acknowledge tells the client at once what was received (IPv%d)', async (family) => {
  // The strictest source validation must not be in the way.
  hosts.service.sysctl('net.ipv4.conf.all.rp_filter', 1)
  const { client, fd, listener } = await restoredWithoutAcknowledgement(family)
  hosts.service.run(() => acknowledge(fd))
  await eventually('the acknowledgement', () => unacknowledgedBytes(client) === 0)
  expect(tcpInfoField(client, 'totalRetransmissions')).toBe(0)

  // It harmed nothing: both directions go on, and the client got no reset.
  expect(await readExactly(fd, 100)).toEqual(ramp(100))
  write(client, ramp(500))
  expect(await readExactly(fd, 500)).toEqual(ramp(500))
  write(fd, ramp(500))
  expect(await readExactly(client, 500)).toEqual(ramp(500))
  expect(tcpInfoField(client, 'totalRetransmissions')).toBe(0)
  discard(client, fd, listener)
})

test.each([4, 6] as const)(
  'a window probe makes the client acknowledge again what the origin heard after its snapshot (IPv%d)',
  async (family) => {
    const { client, service, listener } = hosts.connect(family)
    hosts.mute('client')
    write(service, ramp(5000))
    expect(await readExactly(client, 5000)).toEqual(ramp(5000))
    freeze(service)
    const snapshot = takeSnapshot(service)
    closeSilently(service)
    hosts.unmute('client')
    const { fd } = hosts.service.run(() => restore(snapshot))
    // The client has said it once, and has no reason to say it again.
    expect(unacknowledgedBytes(fd)).toBe(5000)
    sendWindowProbe(fd)
    await eventually('the acknowledgement', () => unacknowledgedBytes(fd) === 0)
    expect(tcpInfoField(fd, 'totalRetransmissions')).toBe(0)
    write(fd, ramp(500))
    expect(await readExactly(client, 500)).toEqual(ramp(500))
    write(client, ramp(500))
    expect(await readExactly(fd, 500)).toEqual(ramp(500))
    discard(client, fd, listener)
  },
)

test('acknowledge of a connection that has ended throws and leaves nothing behind', () => {
  const fd = tcpSocket(address)
  expect(thrownBy(() => acknowledge(fd))).toMatchObject({ errno: 'ENOTCONN' })
  closeFd(fd)
})
