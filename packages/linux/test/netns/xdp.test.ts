import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import {
  attachXdp,
  BpfObject,
  detachXdp,
  deviceFeatures,
  queryXdp,
  Rtnetlink,
  setDeviceFeatures,
  testRun,
} from '@xoffload/linux'
import { errnoOf, TestNamespace } from './test-namespace.ts'

const XDP_DROP = 1
const XDP_PASS = 2
const OBJECT = readFileSync(new URL('../../../../testbed/bpf/xdp.o', import.meta.url))

let namespace: TestNamespace
let object: BpfObject
let index: number

beforeAll(() => {
  namespace = new TestNamespace()
  object = BpfObject.load(OBJECT)
  index = namespace.inside(() => linkOf('veth0').index)
})
afterAll(() => {
  object.close()
  namespace[Symbol.dispose]()
})

function linkOf(name: string) {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(name)
  if (link === undefined) throw new Error(`there is no ${name}`)
  return link
}

test.each(['driver', 'generic'] as const)('a program is attached in mode %s, replaced, found and taken off', (mode) => {
  namespace.inside(() => {
    expect(queryXdp(index)).toBeUndefined()
    attachXdp(index, object.program('pass'), mode)
    const first = queryXdp(index)
    expect(first?.mode).toBe(mode)
    expect(namespace.ip('link', 'show', 'veth0')).toContain(mode === 'driver' ? ' xdp ' : ' xdpgeneric ')
    expect(errnoOf(() => attachXdp(index, object.program('drop'), mode))).toBe('EBUSY')
    attachXdp(index, object.program('drop'), mode, { replace: true })
    expect(queryXdp(index)?.programId).not.toBe(first?.programId as number)
    detachXdp(index, mode)
    expect(queryXdp(index)).toBeUndefined()
  })
})

test('a device that is not there, or has no XDP, says so', () => {
  namespace.ip('link', 'add', 'br0', 'type', 'bridge')
  namespace.inside(() => {
    expect(errnoOf(() => attachXdp(9999, object.program('pass'), 'driver'))).toBe('ENODEV')
    expect(errnoOf(() => attachXdp(linkOf('br0').index, object.program('pass'), 'driver'))).toBe('EOPNOTSUPP')
  })
})

test('programs run on a frame without a device', () => {
  const frame = new Uint8Array(60)
  expect(testRun(object.program('pass'), { frame }).verdict).toBe(XDP_PASS)
  const repeated = testRun(object.program('drop'), { frame, repeat: 10_000 })
  expect(repeated.verdict).toBe(XDP_DROP)
  expect(repeated.nanoseconds).toBeLessThan(1_000_000)
})

test('with live frames a program generates traffic', () => {
  namespace.inside(() => {
    // The other end must have a program to take what XDP sends.
    const other = linkOf('veth1').index
    attachXdp(other, object.program('drop'), 'driver')
    using rtnetlink = new Rtnetlink()
    const before = rtnetlink.linkStatistics(other)?.received ?? 0
    const frame = new Uint8Array(60)
    const context = new Uint8Array(24)
    new DataView(context.buffer).setUint32(4, frame.length, true)
    new DataView(context.buffer).setUint32(12, index, true)
    testRun(object.program('transmit'), { frame, repeat: 1000, context, live: true })
    expect((rtnetlink.linkStatistics(other)?.received ?? 0) - before).toBeGreaterThanOrEqual(1000)
    detachXdp(other, 'driver')
  })
})

test('features are switched, and unknown ones refused', () => {
  namespace.inside(() => {
    const active = () => deviceFeatures(index)?.active
    expect(active()?.has('rx-gro')).toBe(false)
    setDeviceFeatures(index, { 'rx-gro': true, 'tx-tcp-segmentation': false })
    expect([active()?.has('rx-gro'), active()?.has('tx-tcp-segmentation')]).toEqual([true, false])
    setDeviceFeatures(index, { 'rx-gro': false, 'tx-tcp-segmentation': true })
    expect([active()?.has('rx-gro'), active()?.has('tx-tcp-segmentation')]).toEqual([false, true])
    expect(errnoOf(() => setDeviceFeatures(index, { 'no-such-feature': true }))).toBe('EOPNOTSUPP')
    expect(errnoOf(() => setDeviceFeatures(9999, { 'rx-gro': true }))).toBe('ENODEV')
  })
})
