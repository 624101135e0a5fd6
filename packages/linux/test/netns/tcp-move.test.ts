// Connections that move again and again, refusals, and what they leave behind.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { MAXIMUM_QUEUE_LENGTH } from '@xoffload/core'
import { libc } from '../../src/ffi/libc.ts'
import {
  closeFd,
  closeSilently,
  flowOf,
  freeze,
  read,
  restore,
  takeSnapshot,
  thaw,
  UnsettledConnectionError,
  write,
} from '../../src/index.ts'
import { MSG_OOB, SOCK_STREAM } from '../../src/socket/constants.ts'
import { tcpInfo } from '../../src/tcp/info.ts'
import { connectedPair, discard, eventually, openSockets, ramp, readExactly, thrownBy } from '../tcp-support.ts'
import { TwoHosts } from './tcp-namespace.ts'

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
})
afterAll(() => hosts.close())

test.each([4, 6] as const)(
  'IPv%d: 300 moves under a ramp in both directions lose nothing',
  async (family) => {
    const { client, service, listener } = hosts.connect(family)
    const sockets = openSockets()
    let fd = service
    let offset = 0
    for (let move = 0; move < 300; move++) {
      const length = 1 + ((move * 997) % 9000)
      expect(write(client, ramp(length, offset))).toBe(length)
      expect(write(fd, ramp(length, offset))).toBe(length)
      // Half of what the client sent is read before the move, and a part of that is put back.
      const half = await readExactly(fd, Math.ceil(length / 2))
      const putBack = half.slice(half.length >> 1)
      freeze(fd)
      const snapshot = takeSnapshot(fd, { putBack })
      closeSilently(fd)
      fd = hosts.service.run(() => restore(snapshot)).fd
      expect(await readExactly(fd, length - (half.length >> 1))).toEqual(
        ramp(length - (half.length >> 1), offset + (half.length >> 1)),
      )
      expect(await readExactly(client, length)).toEqual(ramp(length, offset))
      offset += length
    }
    expect(openSockets()).toBe(sockets)
    expect(hosts.client.counter('OutRsts') + hosts.service.counter('OutRsts')).toBe(0)
    discard(client, fd, listener)
  },
  30_000,
)

test('a connection moves to another host that has the service address', async () => {
  const { client, service, listener } = hosts.connect(4)
  write(client, ramp(100))
  await readExactly(service, 10)
  freeze(service)
  const snapshot = takeSnapshot(service)
  const other = new TwoHosts()
  const { fd } = other.service.run(() => restore(snapshot))
  expect(flowOf(fd).toString()).toBe(flowOf(service).toString())
  expect(await readExactly(fd, 90)).toEqual(ramp(90, 10))
  discard(client, service, listener, fd)
  other.close()
})

test('only a connection that this side has not closed can be moved, and the error says which state it is in', async () => {
  const ending = connectedPair()
  libc.shutdown(ending.service, 1)
  freeze(ending.service)
  expect(thrownBy(() => takeSnapshot(ending.service))).toMatchObject({
    reason: 'state',
    message: expect.stringContaining('FIN_WAIT'),
  })

  const reset = connectedPair()
  write(reset.service, ramp(10))
  closeFd(reset.client)
  await eventually('the RST', () => tcpInfo(reset.service).state === 'CLOSE')
  freeze(reset.service)
  expect(thrownBy(() => takeSnapshot(reset.service))).toMatchObject({
    reason: 'state',
    message: expect.stringContaining('CLOSE'),
  })
  // The refused connection works on.
  thaw(ending.service)
  write(ending.client, ramp(10))
  expect(await readExactly(ending.service, 10)).toEqual(ramp(10))
  discard(ending.client, ending.service, ending.listener)
  discard(reset.service, reset.listener)
})

test('unread urgent data, a queue that is too long and a socket that is not frozen are refused', () => {
  const { client, service, listener } = connectedPair()
  expect(thrownBy(() => takeSnapshot(service))).toMatchObject({
    errno: 'EPERM',
    message: expect.stringContaining('freeze'),
  })
  freeze(service)
  const putBack = new Uint8Array(MAXIMUM_QUEUE_LENGTH + 1)
  expect(thrownBy(() => takeSnapshot(service, { putBack }))).toMatchObject({ reason: 'queue-length' })
  libc.send(client, ramp(1), 1, MSG_OOB)
  expect(thrownBy(() => takeSnapshot(service))).toMatchObject({ reason: 'urgent-data' })
  discard(client, service, listener)
})

test('Multipath TCP is refused', () => {
  const IPPROTO_MPTCP = 262
  const fd = libc.socket(2, SOCK_STREAM, IPPROTO_MPTCP)
  expect(fd).toBeGreaterThanOrEqual(0)
  expect(thrownBy(() => freeze(fd))).toMatchObject({ code: 'UNSUPPORTED_CONNECTION', reason: 'protocol' })
  closeFd(fd)
})

test('a failed restore says what is wrong and leaves neither socket nor packet', async () => {
  const { client, service, listener } = hosts.connect(4)
  freeze(service)
  const snapshot = takeSnapshot(service)
  const sockets = openSockets()
  const sent = hosts.service.counter('OutSegs')

  const taken = thrownBy(() => hosts.service.run(() => restore(snapshot)))
  expect(taken).toMatchObject({
    errno: 'EADDRINUSE',
    call: 'connect',
    message: expect.stringContaining(snapshot.flow.toString()),
  })
  const elsewhere = thrownBy(() => hosts.client.run(() => restore(snapshot)))
  expect(elsewhere).toMatchObject({
    errno: 'EADDRNOTAVAIL',
    call: 'bind',
    message: expect.stringContaining('10.0.0.2'),
  })

  // A window that cannot be: the last step fails, with all queues full.
  closeSilently(service)
  const window = { ...snapshot.window, sendWindow: 2, maximumWindow: 1 }
  const receive = { ...snapshot.receive, queue: ramp(1000) }
  const late = thrownBy(() => hosts.service.run(() => restore({ ...snapshot, window, receive })))
  expect(late).toMatchObject({ errno: 'EINVAL', call: 'setsockopt(TCP_REPAIR_WINDOW)' })

  expect(openSockets()).toBe(sockets - 1)
  expect(hosts.service.counter('OutSegs')).toBe(sent)
  // Nothing of the failures is in the way.
  const { fd } = hosts.service.run(() => restore(snapshot))
  write(client, ramp(10))
  expect(await readExactly(fd, 10)).toEqual(ramp(10))
  discard(client, fd, listener)
})

test('without CAP_NET_ADMIN the error says so', () => {
  const program = `
    import { freeze, closeFd } from '${import.meta.dir}/../../src/index.ts'
    import { tcpSocket } from '${import.meta.dir}/../tcp-support.ts'
    try { freeze(tcpSocket('127.0.0.1')) } catch (error) { console.log(error.errno, error.message) }`
  const { stdout } = Bun.spawnSync(['setpriv', '--bounding-set=-net_admin', process.execPath, '-e', program])
  expect(stdout.toString()).toStartWith('EPERM')
  expect(stdout.toString()).toContain('CAP_NET_ADMIN')
})

test('a snapshot of a connection in full motion is consistent, or is refused as unsettled', async () => {
  const { client, service, listener } = connectedPair('127.0.0.1')
  const { port } = flowOf(service).service
  discard(client, service)
  // A small segment every 20 microseconds, so that they arrive at every step of a snapshot.
  const program = `
    const bytes = Uint8Array.from({ length: 251 * 2 }, (_, index) => index % 251)
    let offset = 0
    const send = (socket) => {
      for (let count = 0; count < 100; count++) {
        const end = Bun.nanoseconds() + 20_000
        while (Bun.nanoseconds() < end);
        offset = (offset + Math.max(socket.write(bytes.subarray(offset, offset + 100)), 0)) % 251
      }
      setImmediate(send, socket)
    }
    const open = (socket) => { socket.setNoDelay(true); send(socket) }
    await Bun.connect({ hostname: '127.0.0.1', port: ${port}, socket: { open, data() {} } })`
  const writer = Bun.spawn([process.execPath, '-e', program], { stdout: 'inherit', stderr: 'inherit' })
  const fd = await eventually('the writer', () => {
    const accepted = libc.accept4(listener, null, null, 0o4000)
    return accepted >= 0 && accepted
  })
  const buffer = new Uint8Array(1024 * 1024)
  const expected = ramp(buffer.length + 251)
  const matches = (bytes: Uint8Array, offset: number) =>
    Buffer.compare(bytes, expected.subarray(offset % 251, (offset % 251) + bytes.length)) === 0
  let consumed = 0
  let start: number | undefined
  let taken = 0
  const deadline = performance.now() + 20_000
  try {
    while (taken < 20_000 && performance.now() < deadline) {
      freeze(fd)
      try {
        const { receive } = takeSnapshot(fd)
        start ??= receive.sequence - consumed
        // The start of the queue is where the application has read to, whatever arrived meanwhile.
        expect((receive.sequence - start) >>> 0).toBe(consumed)
        expect(matches(receive.queue, consumed)).toBe(true)
        taken++
      } catch (error) {
        if (!(error instanceof UnsettledConnectionError)) throw error
      }
      thaw(fd)
      consumed += read(fd, buffer) ?? 0
    }
  } finally {
    writer.kill()
    await writer.exited
    discard(fd, listener)
  }
  expect(taken).toBe(20_000)
  expect(consumed).toBeGreaterThan(100_000)
}, 30_000)
