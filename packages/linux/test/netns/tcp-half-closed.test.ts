// The client has said all that it will (FIN) and waits for the answer: the connection moves like any other.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { decodeSnapshot, encodeSnapshot, hasUnacknowledgedBytes, type TcpSnapshot } from '@xoffload/core'
import { libc } from '../../src/ffi/libc.ts'
import {
  acknowledge,
  closeFd,
  closeSilently,
  flowOf,
  freeze,
  read,
  restore,
  takeSnapshot,
  takeSnapshotWithProgress,
  thaw,
  UnsettledConnectionError,
  unacknowledgedBytes,
  unreadBytes,
  verifyProgress,
  write,
} from '../../src/index.ts'
import { tcpInfo } from '../../src/tcp/info.ts'
import {
  discard,
  eventually,
  openSockets,
  type Pair,
  ramp,
  readExactly,
  tcpInfoField,
  thrownBy,
  writeAll,
} from '../tcp-support.ts'
import { ip, TwoHosts } from './tcp-namespace.ts'
import { run } from './test-namespace.ts'

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
  // A tail loss probe would repeat a FIN after some 20 ms; what must be resent waits for a timeout (200 ms).
  hosts.client.sysctl('net.ipv4.tcp_early_retrans', 0)
})
afterAll(() => hosts.close())
afterEach(() => {
  for (const host of [hosts.client, hosts.service]) host.sysctl('net.ipv4.tcp_timestamps', 1)
  expect(hosts.client.counter('OutRsts') + hosts.service.counter('OutRsts')).toBe(0)
})

/** shutdown(2) with SHUT_WR. */
const finish = (fd: number) => expect(libc.shutdown(fd, 1)).toBe(0)
const stateOf = (fd: number) => tcpInfo(fd).state
const closedByClient = (fd: number) => eventually('CLOSE_WAIT', () => stateOf(fd) === 'CLOSE_WAIT')
const bringBack = (snapshot: TcpSnapshot) => hosts.service.run(() => restore(snapshot))

/** For the connections that are made meanwhile, the client retransmits nothing for ten seconds. */
function noTimeouts(family: 4 | 6): Disposable {
  const route = family === 4 ? '10.0.0.2/32 dev wire' : 'fd00::2/128 dev wire'
  hosts.client.run(() => ip(`route add ${route} rto_min 10s`))
  return { [Symbol.dispose]: () => void hosts.client.run(() => ip(`route delete ${route}`)) }
}

function takeAway(fd: number, putBack?: Uint8Array): TcpSnapshot {
  freeze(fd)
  const snapshot = takeSnapshot(fd, putBack && { putBack })
  closeSilently(fd)
  return decodeSnapshot(encodeSnapshot(snapshot))
}

/** The end of the stream: everything has been read, and nothing more will come. */
async function expectEnd(fd: number): Promise<void> {
  const end = await eventually('the end of the stream', () => {
    const count = read(fd, new Uint8Array(1))
    return count === undefined ? undefined : { count }
  })
  expect(end.count).toBe(0)
}

/** The service answers and closes; the client gets all of it, and a clean end. */
async function expectAnswer({ client, service }: Omit<Pair, 'listener'>, length = 40_000, sent = 0): Promise<void> {
  expect(writeAll(service, ramp(length, sent))).toBe(length)
  closeFd(service)
  expect(await readExactly(client, length)).toEqual(ramp(length, sent))
  await expectEnd(client)
  closeFd(client)
}

describe.each([4, 6] as const)('IPv%d', (family) => {
  test.each([
    ['with timestamps', 1],
    ['without timestamps', 0],
  ])('%s: the rest is read, then the end; the answer arrives, then its end', async (_name, timestamps) => {
    for (const host of [hosts.client, hosts.service]) host.sysctl('net.ipv4.tcp_timestamps', timestamps)
    const { client, service, listener } = hosts.connect(family)
    write(client, ramp(5000))
    finish(client)
    await closedByClient(service)
    const consumed = await readExactly(service, 100)
    const sendWindow = tcpInfoField(service, 'sendWindow')
    const snapshot = takeAway(service, consumed.slice(50))
    expect(snapshot.receive).toMatchObject({ queue: ramp(4950, 50), fin: true })
    expect(snapshot.options.timestamp !== undefined).toBe(timestamps === 1)

    const said = hosts.service.counter('OutSegs')
    const { fd } = bringBack(snapshot)
    expect(stateOf(fd)).toBe('CLOSE_WAIT')
    expect(tcpInfoField(fd, 'sendWindow')).toBe(sendWindow)
    expect(await readExactly(fd, 4950)).toEqual(ramp(4950, 50))
    await expectEnd(fd)
    // One ACK of the FIN, and nothing else.
    expect(hosts.service.counter('OutSegs') - said).toBeLessThanOrEqual(1)
    await expectAnswer({ client, service: fd })
    closeFd(listener)
  })

  test('moves again and again, also when the application has read the end already', async () => {
    const { client, service, listener } = hosts.connect(family)
    const sockets = openSockets()
    write(client, ramp(100))
    finish(client)
    await closedByClient(service)
    let fd = service
    let sent = 0
    for (let move = 0; move < 50; move++) {
      expect(write(fd, ramp(1 + 97 * move, sent))).toBe(1 + 97 * move)
      if (move === 20) await readExactly(fd, 100)
      if (move > 20) await expectEnd(fd)
      const snapshot = takeAway(fd)
      expect(snapshot.receive.queue.length).toBe(move < 20 ? 100 : 0)
      fd = bringBack(snapshot).fd
      expect(await readExactly(client, 1 + 97 * move)).toEqual(ramp(1 + 97 * move, sent))
      sent += 1 + 97 * move
    }
    await expectEnd(fd)
    expect(openSockets()).toBe(sockets)
    await expectAnswer({ client, service: fd }, 1000, sent)
    closeFd(listener)
  })

  test('an answer whose acknowledgement was lost is sent on', async () => {
    const { client, service, listener } = hosts.connect(family)
    finish(client)
    await closedByClient(service)
    hosts.mute('client')
    write(service, ramp(5000))
    await readExactly(client, 5000)
    const snapshot = takeAway(service)
    expect(snapshot.send.sent).toEqual(ramp(5000))
    hosts.unmute('client')
    const { fd } = bringBack(snapshot)
    expect(unacknowledgedBytes(fd)).toBe(5000)
    await eventually('acknowledgements', () => unacknowledgedBytes(fd) === 0)
    await expectAnswer({ client, service: fd }, 1000, 5000)
    closeFd(listener)
  })

  test('a client that never got the acknowledgement of its FIN gets it from the target', async () => {
    using _ = noTimeouts(family)
    const { client, service, listener } = hosts.connect(family)
    hosts.mute('service')
    write(client, ramp(10))
    finish(client)
    await closedByClient(service)
    const snapshot = takeAway(service)
    const { fd } = bringBack(snapshot)
    expect(stateOf(client)).toBe('FIN_WAIT1')
    hosts.unmute('service')
    hosts.service.run(() => acknowledge(fd))
    await eventually('the acknowledgement', () => stateOf(client) === 'FIN_WAIT2')
    expect(tcpInfoField(client, 'totalRetransmissions')).toBe(0)
    expect(await readExactly(fd, 10)).toEqual(ramp(10))
    await expectAnswer({ client, service: fd })
    closeFd(listener)
  })

  test('a FIN after the snapshot is detected, and the connection goes on where it was', async () => {
    const { client, service, listener } = hosts.connect(family)
    write(client, ramp(10))
    await eventually('the bytes', () => unreadBytes(service) === 10)
    freeze(service)
    const { snapshot, progress } = takeSnapshotWithProgress(service)
    expect(snapshot.receive.fin).toBeUndefined()
    verifyProgress(service, progress)
    finish(client)
    await closedByClient(service)
    expect(thrownBy(() => verifyProgress(service, progress))).toBeInstanceOf(UnsettledConnectionError)
    // A second snapshot carries it.
    const second = takeSnapshotWithProgress(service)
    expect(second.snapshot.receive).toEqual({ ...snapshot.receive, fin: true })
    verifyProgress(service, second.progress)
    thaw(service)
    expect(await readExactly(service, 10)).toEqual(ramp(10))
    await expectEnd(service)
    await expectAnswer({ client, service })
    closeFd(listener)
  })
})

test('an RST after the snapshot is detected', async () => {
  const own = new TwoHosts()
  const { client, service, listener } = own.connect(4)
  finish(client)
  await closedByClient(service)
  freeze(service)
  const { progress } = takeSnapshotWithProgress(service)
  thaw(service)
  // The client's host has forgotten the connection: it answers what arrives with RST.
  closeSilently(client)
  write(service, ramp(1))
  await eventually('the RST', () => stateOf(service) === 'CLOSE')
  freeze(service)
  expect(thrownBy(() => verifyProgress(service, progress))).toBeInstanceOf(UnsettledConnectionError)
  expect(thrownBy(() => takeSnapshot(service))).toMatchObject({ reason: 'state' })
  discard(service, listener)
  own.close()
})

test('an unacknowledged FIN is one that the target must acknowledge', async () => {
  const { client, service, listener } = hosts.connect(4)
  finish(client)
  await eventually('the acknowledgement', () => stateOf(client) === 'FIN_WAIT2')
  const snapshot = takeAway(service)
  expect(hasUnacknowledgedBytes(snapshot)).toBe(false)
  const { receiveLastUpdate } = snapshot.window
  const window = { ...snapshot.window, receiveLastUpdate: (receiveLastUpdate - 1) >>> 0 }
  expect(hasUnacknowledgedBytes({ ...snapshot, window })).toBe(true)
  const { fd } = bringBack({ ...snapshot, window })
  await expectAnswer({ client, service: fd })
  closeFd(listener)
})

test('a host whose firewall drops the FIN says so, and leaves nothing behind', async () => {
  const { client, service, listener } = hosts.connect(4)
  finish(client)
  // Else the client would repeat its FIN, and nobody holds what it sends here.
  await eventually('the acknowledgement', () => stateOf(client) === 'FIN_WAIT2')
  const snapshot = takeAway(service)
  const [sockets, said] = [openSockets(), hosts.service.counter('OutSegs')]
  // Stands for a firewall: nothing passes the loopback device.
  hosts.service.run(() => run('tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'blackhole'))
  const error = thrownBy(() => bringBack(snapshot))
  expect(error).toMatchObject({ errno: 'ETIMEDOUT', message: expect.stringContaining('firewall') })
  expect([openSockets(), hosts.service.counter('OutSegs')]).toEqual([sockets, said])
  hosts.service.run(() => run('tc', 'qdisc', 'del', 'dev', 'lo', 'root'))
  await expectAnswer({ client, service: bringBack(snapshot).fd })
  closeFd(listener)
})

test('without CAP_NET_RAW the error says so', () => {
  const program = `
    import { receiveSegment } from '${import.meta.dir}/../../src/tcp/send-packets.ts'
    import { FlowKey } from '@xoffload/core'
    const flow = FlowKey.of({ address: '127.0.0.1', port: 1 }, { address: '127.0.0.1', port: 2 })
    try { receiveSegment(flow, new Uint8Array(40)) } catch (error) { console.log(error.errno, error.message) }`
  const { stdout } = Bun.spawnSync(['setpriv', '--bounding-set=-net_raw', process.execPath, '-e', program], {
    cwd: import.meta.dir,
  })
  expect(stdout.toString()).toStartWith('EPERM')
  expect(stdout.toString()).toContain('CAP_NET_RAW')
})

/**
 * Takes snapshots of a connection, over which 100 bytes and a FIN arrive, until the FIN is there. All must agree on where the bytes
 * end.
 * Returns how many had the bytes and no FIN yet.
 */
function snapshotsUntilFin(fd: number): number {
  const deadline = performance.now() + 5000
  let end: number | undefined
  let before = 0
  for (; performance.now() < deadline; thaw(fd)) {
    freeze(fd)
    try {
      const { receive } = takeSnapshot(fd)
      if (receive.queue.length < 100) continue
      end ??= (receive.sequence + 100) >>> 0
      expect((receive.sequence + receive.queue.length) >>> 0).toBe(end)
      if (receive.fin === true) return before
      before++
    } catch (error) {
      if (!(error instanceof UnsettledConnectionError)) throw error
    }
  }
  throw new Error('there was no FIN for five seconds')
}

test('a FIN that arrives while the snapshot is taken is in it or not, but never half', async () => {
  const own = new TwoHosts()
  const { client: first, service: probe, listener } = own.connect(4)
  const { address, port } = flowOf(probe).service
  discard(first, probe)
  const program = `
    const open = (socket) => {
      socket.write(new Uint8Array(100))
      const end = Bun.nanoseconds() + 1e6 + Math.random() * 3e6
      while (Bun.nanoseconds() < end);
      socket.shutdown()
    }
    for (let count = 0; count < 300; count++) {
      await new Promise((resolve) =>
        Bun.connect({ hostname: '${address}', port: ${port}, allowHalfOpen: true, socket: { open, data() {}, close: resolve, error() {} } }))
    }`
  const child = own.client.run(() =>
    Bun.spawn([process.execPath, '-e', program], { stdout: 'inherit', stderr: 'inherit' }),
  )
  let before = 0
  try {
    for (let count = 0; count < 300; count++) {
      const fd = await eventually('a connection', () => {
        const accepted = libc.accept4(listener, null, null, 0o4000)
        return accepted >= 0 && accepted
      })
      before += snapshotsUntilFin(fd)
      // With unread bytes this is an RST, at which the client opens the next one.
      thaw(fd)
      closeFd(fd)
    }
  } finally {
    child.kill()
    await child.exited
    closeFd(listener)
    own.close()
  }
  expect(before).toBeGreaterThan(300)
}, 30_000)
