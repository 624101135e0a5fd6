// What a packet does that had passed the lock before it was there, and reaches the socket once its snapshot is taken.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  freeze,
  readUnheardData,
  sendUnheardData,
  stopPretending,
  takeSnapshotWithProgress,
  thaw,
  UnsettledConnectionError,
  unacknowledgedBytes,
  unreadBytes,
  unsentBytes,
  verifyProgress,
  write,
} from '../../src/index.ts'
import { SO_RCVBUFFORCE, SOL_SOCKET } from '../../src/socket/constants.ts'
import { setOption } from '../../src/socket/options.ts'
import { tcpInfo } from '../../src/tcp/info.ts'
import { discard, eventually, ramp, readExactly, thrownBy, writeAll } from '../tcp-support.ts'
import { ip, TwoHosts } from './tcp-namespace.ts'

const families = [4, 6] as const
/** The first congestion window has 10 segments (RFC 6928), and one that was acknowledged makes room for two. */
const MORE_THAN_ONE_WINDOW = 25_001
const MORE_THAN_THREE_WINDOWS = 45_001

let hosts: TwoHosts
beforeEach(() => {
  hosts = new TwoHosts()
  hosts.service.sysctl('net.ipv4.tcp_congestion_control', 'reno')
  // A retransmission timeout takes longer than any test that passes.
  hosts.service.run(() => {
    ip('route replace 10.0.0.0/24 dev wire rto_min 20s')
    ip('route replace fd00::/64 dev wire rto_min 20s')
  })
})
afterEach(() => hosts.close())

describe.each(families)('IPv%d', (family) => {
  test('a window update that changes nothing else is detected', async () => {
    const { client, service, listener } = hosts.connect(family, (fd) =>
      setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8192, 'setsockopt(SO_RCVBUFFORCE)'),
    )
    writeAll(service, ramp(200_000))
    await eventually(
      'a closed window',
      () => unreadBytes(client) > 0 && unacknowledgedBytes(service) === unsentBytes(service),
    )
    freeze(service)
    const { snapshot, progress } = takeSnapshotWithProgress(service)
    expect(snapshot.send.sent.length).toBe(0)
    verifyProgress(service, progress)
    await readExactly(client, unreadBytes(client))
    await eventually('the window update', () => thrownBy(() => verifyProgress(service, progress)))
    expect(thrownBy(() => verifyProgress(service, progress))).toBeInstanceOf(UnsettledConnectionError)
    thaw(service)
    discard(client, service, listener)
  })

  /** A frozen socket whose client did not acknowledge what fits into the first window, and more to send. */
  async function frozenInTheFirstWindow(length: number) {
    const { client, service, listener } = hosts.connect(family)
    hosts.mute('client')
    expect(writeAll(service, ramp(length))).toBe(length)
    await eventually(
      'the first window',
      () => unreadBytes(client) > 0 && unreadBytes(client) === length - unsentBytes(service),
    )
    freeze(service)
    const { snapshot, progress } = takeSnapshotWithProgress(service)
    expect(readUnheardData(service, progress)).toBeUndefined()
    // A frozen socket is not heard.
    hosts.mute('service')
    hosts.unmute('client')
    return { client, service, listener, snapshot, progress }
  }

  test('what the socket sends then is sent once more when it goes on, without a retransmission timeout', async () => {
    const { client, service, listener, snapshot, progress } = await frozenInTheFirstWindow(MORE_THAN_ONE_WINDOW)
    stopPretending(service)
    // Acknowledges the first window, and makes room for the next.
    write(client, ramp(1))
    const { sent, unsent } = snapshot.send
    await eventually('the rest', () => unsentBytes(service) === 0)
    const unheard = readUnheardData(service, progress)
    expect(unheard?.bytes).toEqual(ramp(unsent.length, sent.length))
    thaw(service)
    hosts.unmute('service')
    if (unheard !== undefined) hosts.service.run(() => sendUnheardData(service, snapshot.flow, unheard))
    expect(await readExactly(client, MORE_THAN_ONE_WINDOW)).toEqual(ramp(MORE_THAN_ONE_WINDOW))
    await eventually('acknowledgements', () => unacknowledgedBytes(service) === 0)
    expect(hosts.service.counter('TCPTimeouts')).toBe(0)
    discard(client, service, listener)
  })

  test('of what it only pretended to send, no more is sent than the congestion window has room for', async () => {
    const { client, service, listener, snapshot, progress } = await frozenInTheFirstWindow(MORE_THAN_THREE_WINDOWS)
    write(client, ramp(1))
    await eventually('pretence', () => unsentBytes(service) === 0)
    const unheard = readUnheardData(service, progress)
    const { congestionWindow, segmentSize } = tcpInfo(service)
    const room = congestionWindow * segmentSize
    expect(room).toBeLessThan(snapshot.send.unsent.length)
    expect(unheard?.bytes).toEqual(ramp(room, snapshot.send.sent.length))
    thaw(service)
    discard(client, service, listener)
  })
})

test('a socket that was not disturbed has sent nothing', async () => {
  const { client, service, listener } = hosts.connect(4)
  write(service, ramp(10))
  freeze(service)
  const { progress } = takeSnapshotWithProgress(service)
  expect(readUnheardData(service, progress)).toBeUndefined()
  discard(client, service, listener)
})
