// What a packet does that had passed the lock before it was there, and reaches the socket once its snapshot is taken.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  freeze,
  sendPretendedData,
  takePretendedData,
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
import { discard, eventually, ramp, readExactly, thrownBy, writeAll } from '../tcp-support.ts'
import { ip, TwoHosts } from './tcp-namespace.ts'

const families = [4, 6] as const
/** More than the first congestion window (10 segments, RFC 6928) has room for, and no whole number of segments. */
const LENGTH = 60_001

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
  // A retransmission timeout takes longer than any test that passes.
  hosts.service.run(() => {
    ip('route replace 10.0.0.0/24 dev wire rto_min 20s')
    ip('route replace fd00::/64 dev wire rto_min 20s')
  })
})
afterAll(() => hosts.close())

describe.each(families)('IPv%d', (family) => {
  test('a window update that changes nothing else is detected', async () => {
    const { client, service, listener } = hosts.connect(family, (fd) =>
      setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8192, 'setsockopt(SO_RCVBUFFORCE)'),
    )
    const written = writeAll(service, ramp(200_000))
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
    expect(written).toBeGreaterThan(0)
    discard(client, service, listener)
  })

  test('what the socket has then pretended to send is sent when it goes on, without a retransmission timeout', async () => {
    const { client, service, listener } = hosts.connect(family)
    hosts.mute('client')
    expect(writeAll(service, ramp(LENGTH))).toBe(LENGTH)
    await eventually(
      'the first window',
      () => unreadBytes(client) > 0 && unreadBytes(client) === LENGTH - unsentBytes(service),
    )
    freeze(service)
    const { snapshot, progress } = takeSnapshotWithProgress(service)
    expect(takePretendedData(service, progress)).toBeUndefined()
    // A frozen socket is not heard. The client's next packet acknowledges the first window, and makes room for a second.
    hosts.mute('service')
    hosts.unmute('client')
    write(client, ramp(1))
    await eventually('room in the window', () => unsentBytes(service) < snapshot.send.unsent.length)
    const pretended = takePretendedData(service, progress)
    expect(pretended?.bytes).toEqual(
      ramp(snapshot.send.unsent.length - unsentBytes(service), snapshot.send.sent.length),
    )
    thaw(service)
    hosts.unmute('service')
    if (pretended !== undefined) hosts.service.run(() => sendPretendedData(service, pretended))
    expect(await readExactly(client, LENGTH)).toEqual(ramp(LENGTH))
    await eventually('acknowledgements', () => unacknowledgedBytes(service) === 0)
    expect(hosts.service.counter('TCPTimeouts')).toBe(0)
    discard(client, service, listener)
  })
})

test('a socket that pretended nothing has nothing to send', async () => {
  const { client, service, listener } = hosts.connect(4)
  write(service, ramp(10))
  freeze(service)
  const { progress } = takeSnapshotWithProgress(service)
  expect(takePretendedData(service, progress)).toBeUndefined()
  discard(client, service, listener)
})
