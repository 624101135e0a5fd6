// Invariant 6, first half: options that were not negotiated are not restored, those that were are.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { closeSilently, freeze, restore, takeSnapshot, write } from '../../src/index.ts'
import { tcpInfo } from '../../src/tcp/info.ts'
import { discard, eventually, ramp, readExactly, tcpInfoField } from '../tcp-support.ts'
import { TwoHosts } from './tcp-namespace.ts'

let hosts: TwoHosts
beforeAll(() => {
  hosts = new TwoHosts()
})
afterAll(() => hosts.close())

const combinations = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
  timestamps: (bits & 1) !== 0,
  selectiveAcknowledgement: (bits & 2) !== 0,
  windowScaling: (bits & 4) !== 0,
}))

test.each(combinations)('the client negotiated %o', async ({ timestamps, selectiveAcknowledgement, windowScaling }) => {
  // The service's host would take everything: only the client decides. So restoring a default would show.
  hosts.client.sysctl('net.ipv4.tcp_timestamps', timestamps ? 1 : 0)
  hosts.client.sysctl('net.ipv4.tcp_sack', selectiveAcknowledgement ? 1 : 0)
  hosts.client.sysctl('net.ipv4.tcp_window_scaling', windowScaling ? 1 : 0)
  // A different scale at each end, so that exchanged ones show.
  hosts.client.sysctl('net.ipv4.tcp_rmem', '4096 131072 1048576')
  hosts.service.sysctl('net.ipv4.tcp_rmem', '4096 131072 16777216')
  const { client, service, listener } = hosts.connect(4)
  write(service, ramp(10))
  await readExactly(client, 10)
  const before = tcpInfo(service)
  const window = tcpInfoField(client, 'sendWindow')

  freeze(service)
  const { options, ...rest } = takeSnapshot(service)
  closeSilently(service)
  expect(options.maximumSegmentSize).toBe(1460)
  expect(options.timestamp !== undefined).toBe(timestamps)
  expect(options.selectiveAcknowledgement).toBe(selectiveAcknowledgement)
  expect(options.windowScale !== undefined).toBe(windowScaling)
  if (windowScaling) expect(options.windowScale?.send).not.toBe(options.windowScale?.receive)

  const { fd } = hosts.service.run(() => restore({ options, ...rest }))
  // What it counts and measures begins anew.
  const { segmentSize, congestionWindow } = tcpInfo(fd)
  const anew = { sentOnce: 0, acknowledged: 0, received: 0, segmentSize, congestionWindow }
  expect(tcpInfo(fd)).toEqual({ ...before, ...anew })
  freeze(fd)
  expect(takeSnapshot(fd).options).toEqual({
    ...options,
    ...(timestamps && { timestamp: expect.any(Number) as unknown as number }),
  })
  closeSilently(fd)

  // The window that the client sees is the same as before: with a scale of the wrong size it would be a fraction or a multiple.
  const again = hosts.service.run(() => restore({ options, ...rest })).fd
  // Full segments: in repair mode the kernel would go back to 536 bytes.
  const payload = 10 * (timestamps ? 1448 : 1460)
  write(again, ramp(payload))
  expect(await readExactly(client, payload)).toEqual(ramp(payload))
  expect(tcpInfoField(again, 'dataSegmentsSent')).toBe(10)
  write(client, ramp(1000))
  expect(await readExactly(again, 1000)).toEqual(ramp(1000))
  await eventually('the window', () => tcpInfoField(client, 'sendWindow') >= window * 0.9)
  expect(tcpInfoField(client, 'sendWindow')).toBeLessThan(window * 2)
  expect(
    hosts.client.counter('TCPAbortOnData') + hosts.client.counter('OutRsts') + hosts.service.counter('OutRsts'),
  ).toBe(0)
  discard(client, again, listener)
})

test('the timestamp clock goes on: without it the client drops every segment (PAWS)', async () => {
  hosts.client.sysctl('net.ipv4.tcp_timestamps', 1)
  const { client, service, listener } = hosts.connect(4)
  write(service, ramp(10))
  await readExactly(client, 10)
  freeze(service)
  const snapshot = takeSnapshot(service)
  closeSilently(service)
  const timestamp = snapshot.options.timestamp as number

  const dropped = hosts.client.counter('PAWSEstab')
  const stale = { ...snapshot, options: { ...snapshot.options, timestamp: (timestamp - 1_000_000) >>> 0 } }
  const old = hosts.service.run(() => restore(stale)).fd
  write(old, ramp(10))
  await eventually('a drop by PAWS', () => hosts.client.counter('PAWSEstab') > dropped)
  closeSilently(old)

  const { fd } = hosts.service.run(() => restore(snapshot))
  const droppedNow = hosts.client.counter('PAWSEstab')
  write(fd, ramp(10))
  expect(await readExactly(client, 10)).toEqual(ramp(10))
  expect(hosts.client.counter('PAWSEstab')).toBe(droppedNow)
  discard(client, fd, listener)
})
