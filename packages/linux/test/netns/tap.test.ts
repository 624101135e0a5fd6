import { afterEach, beforeEach, expect, test } from 'bun:test'
import { Rtnetlink, Tap, VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import { errnoOf, TestNamespace } from './test-namespace.ts'

let namespace: TestNamespace
beforeEach(() => {
  namespace = new TestNamespace()
})
afterEach(() => namespace[Symbol.dispose]())

/** An Ethernet frame of an experimental type, behind an empty virtio-net header. */
function frame(text: string): Uint8Array {
  const ethernet = [...new Uint8Array(6).fill(0xff), 2, 0, 0, 0, 0, 1, 0x88, 0xb5]
  return Uint8Array.from([...new Uint8Array(VIRTIO_NET_HEADER_LENGTH), ...ethernet, ...Buffer.from(text.padEnd(46))])
}

/** The next experimental frame that is there: the bridge and the kernel of a busy machine say things of their own now and then. */
function read(tap: Tap): Uint8Array | undefined {
  for (let found = tap.read(); found !== undefined; found = tap.read()) {
    const type = found.subarray(VIRTIO_NET_HEADER_LENGTH + 12)
    if (type[0] === 0x88 && type[1] === 0xb5) return found
  }
  return undefined
}

async function next(tap: Tap): Promise<Uint8Array> {
  const deadline = performance.now() + 2000
  for (;;) {
    const received = read(tap)
    if (received !== undefined) return received
    if (performance.now() > deadline) throw new Error('no frame came')
    await Bun.sleep(1)
  }
}

test('what is written to one end of a bridge is read at the other, unchanged', async () => {
  namespace.ip('link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0')
  namespace.ip('link', 'set', 'br0', 'addrgenmode', 'none', 'up')
  const [one, two] = namespace.inside(() => [Tap.open({ name: 'one' }), Tap.open({ name: 'two', queueLength: 33 })])
  for (const { name } of [one, two]) namespace.ip('link', 'set', name, 'master', 'br0')
  expect(namespace.ip('link', 'show', 'two')).toContain('qlen 33')
  expect(read(two)).toBeUndefined()
  for (const text of ['first', 'second']) one.write(frame(text))
  expect(await next(two)).toEqual(frame('first'))
  expect(await next(two)).toEqual(frame('second'))
  expect(read(two)).toBeUndefined()

  // Nobody reads: what the queue has no room for is counted, whatever namespace the question is asked in.
  expect([one.dropped, two.dropped]).toEqual([0, 0])
  for (let count = 0; count < 40; count++) one.write(frame('many'))
  namespace.inside(() => {
    using rtnetlink = new Rtnetlink()
    // The bridge may have sent something of its own there, and may do so at any time.
    const before = two.dropped
    const statistics = rtnetlink.linkStatistics('two')
    expect(before).toBeGreaterThanOrEqual(7)
    expect(statistics?.received).toBe(0)
    expect(statistics?.transmitDropped).toBeGreaterThanOrEqual(before)
    expect(statistics?.transmitDropped).toBeLessThanOrEqual(two.dropped)
    expect(rtnetlink.linkStatistics('one')).toMatchObject({ received: 42, receiveDropped: 0 })
    expect(rtnetlink.linkStatistics('nonesuch')).toBeUndefined()
  })
  one.close()
  two.close()
  expect(errnoOf(() => two.dropped)).toBe('EBADF')
})

test('the device is up, without addresses, and is gone when it is closed', () => {
  const tap = namespace.inside(() => Tap.open({ name: 'xo%d' }))
  namespace.inside(() => {
    using rtnetlink = new Rtnetlink()
    expect(tap.name).toBe('xo0')
    expect(rtnetlink.link('xo0')).toMatchObject({ index: tap.ifindex, up: true, kind: 'tun' })
    expect(rtnetlink.addresses(tap.ifindex)).toEqual([])
    tap.close()
    tap.close()
    expect(rtnetlink.link('xo0')).toBeUndefined()
  })
  expect(errnoOf(() => tap.read())).toBe('EBADF')
  expect(errnoOf(() => tap.write(frame('late')))).toBe('EBADF')
})

test('a name belongs to one at a time, and must fit', () => {
  namespace.inside(() => {
    using _first = Tap.open({ name: 'mine' })
    expect(errnoOf(() => Tap.open({ name: 'mine' }))).toBe('EBUSY')
    expect(errnoOf(() => Tap.open({ name: 'a-name-that-is-too-long' }))).toBe('EINVAL')
  })
  namespace.inside(() => Tap.open({ name: 'mine' }).close())
})
