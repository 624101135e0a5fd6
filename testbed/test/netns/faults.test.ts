/** Faulty links: what is measured from outside is what was asked for and what the counters say. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type LinkFaultSettings, LinkFaults, Testbed } from '@xoffload/testbed'
import { namespacePath } from '../../src/network.ts'
import { namespaceInode, processesInside } from '../../src/proc.ts'
import { NumberedFrames } from './numbered-frames.ts'

// A lost frame may cost the stream a retransmission timeout.
setDefaultTimeout(30_000)

let testbed: Testbed
let frames: NumberedFrames
let faults: LinkFaults | undefined

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['a', 'b'] })
  // Frames are counted exactly: nobody else may send any.
  const silent = 'for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$each; done'
  for (const host of testbed.hosts) await host.run(['sh', '-c', silent])
  await inSwitch(silent)
})
afterAll(() => testbed.close())
beforeEach(() => {
  frames = new NumberedFrames(testbed.host('a'), testbed.host('b'))
})
afterEach(async () => {
  frames[Symbol.dispose]()
  await faults?.detach()
  faults = undefined
})

/** Runs a command where the bridge is. */
async function inSwitch(command: string): Promise<string> {
  const { namespace } = testbed.host('a').port
  const path = namespacePath(namespace)
  const { stdout } = await testbed.host('a').run(['nsenter', `--net=${path}`, 'sh', '-c', command])
  return stdout
}

async function attach(host: string, settings: Partial<LinkFaultSettings>): Promise<LinkFaults> {
  faults = await LinkFaults.attach(testbed.host(host), settings)
  return faults
}

/** Numbers from 0 on that are not in `present`. */
function missing(present: readonly number[], count: number): number[] {
  const there = new Set(present)
  return Array.from({ length: count }, (_, number) => number).filter((number) => !there.has(number))
}

/** Numbers that came after a greater one. */
function overtaken(arrived: readonly number[]): number[] {
  let greatest = -1
  return arrived.filter((number) => {
    if (number < greatest) return true
    greatest = number
    return false
  })
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN
}

/** The distance from `expected`, in standard deviations, of how often something happened that is independent each time. */
function deviation(found: number, count: number, probability: number): number {
  return Math.abs(found - count * probability) / Math.sqrt(count * probability * (1 - probability))
}

// What the host sends passes the port's ingress, what it gets its egress: both have to be right.
describe.each([
  ['a', 'fromHost'],
  ['b', 'toHost'],
] as const)('on the link of host %s (%s)', (host, direction) => {
  test('without settings everything arrives in order, at once', async () => {
    await attach(host, {})
    frames.send(1000)
    frames.receiveUntil(() => frames.arrived.length === 1000)
    expect(overtaken(frames.arrived)).toEqual([])
    expect(median(frames.latencies)).toBeLessThan(1)
    expect(faults?.counters()[direction]).toMatchObject({ frames: 1000, lost: 0, duplicated: 0, delayed: 0 })
  })

  test('frames are lost', async () => {
    const link = await attach(host, { lossPerMillion: 50_000, seed: 7 })
    frames.send(20_000)
    frames.receiveFor(20)
    const lost = missing(frames.arrived, 20_000).length
    expect(deviation(lost, 20_000, 0.05)).toBeLessThan(4)
    expect(link.counters()[direction]).toMatchObject({ frames: 20_000, lost })
    expect(frames.arrived).toHaveLength(20_000 - lost)
  })

  test('frames are duplicated', async () => {
    const link = await attach(host, { duplicatePerMillion: 20_000, seed: 8 })
    frames.send(20_000)
    const { duplicated } = link.counters()[direction]
    expect(deviation(duplicated, 20_000, 0.02)).toBeLessThan(4)
    frames.receiveUntil(() => frames.arrived.length === 20_000 + duplicated)
    expect(new Set(frames.arrived).size).toBe(20_000)
    expect(overtaken(frames.arrived)).toEqual([])
  })

  test('frames are overtaken by later ones', async () => {
    const link = await attach(host, { reorderPerMillion: 30_000, reorderMicroseconds: 5_000_000, seed: 9 })
    frames.send(5000)
    // A last frame that keeps its place overtakes all that wait.
    link.set({ reorderPerMillion: 0 })
    frames.send(1)
    const { reordered, delayed, released } = link.counters()[direction]
    expect(deviation(reordered, 5000, 0.03)).toBeLessThan(4)
    expect([delayed, released]).toEqual([reordered, 0])
    await link.detach()
    frames.receiveUntil(() => frames.arrived.length === 5001)
    expect(overtaken(frames.arrived)).toHaveLength(reordered)
  })

  test('frames are delayed and keep their order, their copies too', async () => {
    const link = await attach(host, {
      delayMicroseconds: 20_000,
      jitterMicroseconds: 10_000,
      duplicatePerMillion: 50_000,
    })
    for (let burst = 0; burst < 50; burst++) {
      frames.send(10)
      frames.receiveFor(5)
    }
    const { duplicated } = link.counters()[direction]
    expect(deviation(duplicated, 500, 0.05)).toBeLessThan(4)
    const all = 500 + duplicated
    frames.receiveUntil(() => frames.arrived.length === all)
    expect(Math.min(...frames.latencies)).toBeGreaterThanOrEqual(19.9)
    expect(median(frames.latencies)).toBeWithin(20, 50)
    expect(overtaken(frames.arrived)).toEqual([])
    expect(link.counters()[direction]).toMatchObject({ frames: 500, delayed: all, released: all })
  })

  test('the other direction can be left alone', async () => {
    const link = await attach(host, {})
    link.set({ lossPerMillion: 1_000_000 }, direction === 'fromHost' ? 'toHost' : 'fromHost')
    frames.send(100)
    frames.receiveUntil(() => frames.arrived.length === 100)
    link.set({ lossPerMillion: 1_000_000 }, direction)
    frames.send(100)
    frames.receiveFor(20)
    expect(frames.arrived).toHaveLength(100)
    expect(link.counters()[direction].lost).toBe(100)
  })
})

test('the same seed makes the same faults, another one others', async () => {
  const lost: number[][] = []
  for (const seed of [1, 1, 2]) {
    const each = new NumberedFrames(testbed.host('a'), testbed.host('b'))
    await using _link = await LinkFaults.attach(testbed.host('a'), { lossPerMillion: 100_000, seed })
    each.send(1000)
    each.receiveFor(20)
    lost.push(missing(each.arrived, 1000))
    each[Symbol.dispose]()
  }
  expect(lost[0]).toEqual(lost[1] as number[])
  expect(lost[0]).not.toEqual(lost[2] as number[])
})

test('all faults at once leave a TCP stream right, its large segments too', async () => {
  await using bed = await Testbed.create({ hosts: ['a', 'b'] })
  await using link = await LinkFaults.attach(bed.host('a'), {
    lossPerMillion: 10_000,
    duplicatePerMillion: 20_000,
    reorderPerMillion: 20_000,
    reorderMicroseconds: 1_000,
    delayMicroseconds: 500,
    jitterMicroseconds: 500,
  })
  const length = 10_000_000
  const bytes = `Uint8Array.from({ length: ${length} }, (_, index) => (index * 2654435761) >>> 24)`
  const serve = `Bun.serve({ port: 80, hostname: '::', fetch: () => new Response(${bytes}) }); console.log('ready')`
  const fetched = (address: string) =>
    `console.log(String(Bun.hash(await (await fetch('http://${address}/')).arrayBuffer())))`
  await bed.host('b').spawn([process.execPath, '-e', serve]).line(/ready/)
  for (const address of [bed.host('b').ipv4, `[${bed.host('b').ipv6}]`]) {
    const { stdout } = await bed.host('a').run([process.execPath, '-e', fetched(address)])
    expect(stdout.trim()).toBe(`${Bun.hash(Uint8Array.from({ length }, (_, index) => (index * 2654435761) >>> 24))}`)
  }
  const { toHost } = link.counters()
  for (const kind of ['lost', 'duplicated', 'reordered'] as const) expect(toHost[kind]).toBeGreaterThan(0)
  expect(toHost.released).toBe(toHost.delayed)
  // Far fewer than packets of 1500 bytes.
  expect(toHost.frames).toBeLessThan((2 * length) / 5000)
})

describe('detaching', () => {
  const everything = 'ip -o link; tc qdisc; for way in ingress egress; do tc filter show dev port1 $way; done'

  test('leaves nothing, and what waits arrives', async () => {
    const before = await inSwitch(everything)
    expect(before).not.toContain('clsact')
    const link = await attach('a', { delayMicroseconds: 10_000_000 })
    expect(await inSwitch(everything)).not.toBe(before)
    frames.send(10)
    await link.detach()
    frames.receiveUntil(() => frames.arrived.length === 10)
    expect(Math.max(...frames.latencies)).toBeLessThan(5000)
    expect(await inSwitch(everything)).toBe(before)
  })

  test('leaves the filters of others', async () => {
    const link = await attach('a', {})
    await inSwitch('tc filter add dev port1 ingress pref 9 protocol all u32 match u32 0 0')
    await link.detach()
    expect(await inSwitch('tc filter show dev port1 ingress')).toContain('pref 9')
    await inSwitch('tc qdisc del dev port1 clsact')
  })
})

test('what goes wrong is said', async () => {
  const link = await attach('a', {})
  await expect(LinkFaults.attach(testbed.host('a'))).rejects.toThrow(/EBUSY.*port1from/)
  expect(() => link.set({ lossPerMillion: 1_000_001 })).toThrow('a whole number from 0 to 1000000')
  expect(() => link.set({ delayMicroseconds: -1 })).toThrow('delayMicroseconds is -1')
  await expect(LinkFaults.attach(testbed.host('b'), { seed: 0.5 })).rejects.toThrow('seed is 0.5')
})

test('a delay line that dies is no link without faults: whoever asks is told', async () => {
  const link = await LinkFaults.attach(testbed.host('a'), { delayMicroseconds: 1000 })
  const inode = namespaceInode(namespacePath(testbed.host('a').port.namespace)) ?? 0
  const [pid = 0] = processesInside(new Set([inode]))
  process.kill(pid, 'SIGKILL')
  await expect(link.detach()).rejects.toThrow(/delay-line-program.*SIGKILL/)
  expect(() => link.counters()).toThrow('has ended')
  expect(() => link.set({})).toThrow('has ended')
})
