import { expect, test } from 'bun:test'
import { RedirectorError, type Rule } from '../../src/index.ts'
import { NIC_PROFILES } from '../../src/simulation/index.ts'
import { flow, type HybridWorld, hybridWorld, steer } from './world.ts'

const LARGE = { expectedBytes: 100_000_000 }

/** A world with one flow, whose rule the hardware has. */
async function withOffloaded(options: Parameters<typeof hybridWorld>[0] = {}): Promise<HybridWorld> {
  const world = await hybridWorld(options)
  await world.hybrid.put({ ...steer(flow(1)), ...LARGE })
  await world.clock.advance(10)
  expect(world.card.rules.size).toBe(1)
  return world
}

function serverOf(rule: Rule | undefined): string {
  if (rule === undefined) return 'the stack'
  if (rule.action === 'hold') return 'held'
  return rule.target.mode === 'l2' ? `server ${rule.target.mac.bytes[5]}` : rule.target.mode
}

test('software has the rule at once, and hardware in its own time when many bytes are expected', async () => {
  const { clock, hybrid, card, kernel } = await hybridWorld({ profile: NIC_PROFILES.cx7 })
  const before = clock.now()
  expect(await hybrid.put({ ...steer(flow(1)), ...LARGE })).toBe('active')
  await hybrid.put({ ...steer(flow(2)), expectedBytes: 1000 })
  await hybrid.put(steer(flow(3)))
  expect(clock.now()).toBe(before)
  expect([kernel.rules.size, card.rules.size]).toEqual([3, 0])
  await clock.advance(2.2)
  expect([...card.rules.keys()]).toEqual([flow(1).id])
  await clock.advance(5000)
  expect([kernel.rules.size, card.rules.size]).toEqual([3, 1])
  expect(hybrid.statistics()).toMatchObject({ promoted: 1, hinted: 1, offloaded: 1 })
})

test('a flow is promoted when it has sent much, is old enough, and goes on sending', async () => {
  const world = await hybridWorld()
  const { hybrid, card, clock } = world
  for (const number of [1, 2, 3, 4]) await hybrid.put(steer(flow(number)))
  await hybrid.put({ action: 'hold', flow: flow(5) })
  const promoted = (): number[] => [1, 2, 3, 4, 5].filter((number) => card.rules.has(flow(number).id))
  // Much at once, and then nothing; much, but slowly; little, and fast; held.
  world.receive(flow(1), 10_000_000, 7000)
  for (let round = 0; round < 100; round++) {
    world.receive(flow(2), 15_000, 10)
    world.receive(flow(4), 120, 2)
    world.receive(flow(5), 15_000, 10)
    if (round % 10 === 0) world.receive(flow(3), 15_000, 1)
    await clock.advance(20)
    if (round * 20 < 200) expect(promoted()).toEqual([])
  }
  expect(promoted()).toEqual([2])
  // What it is worth is what it sends from here on in hardware.
  expect(serverOf(card.receive(flow(2)))).toBe('server 1')
  expect(hybrid.statistics()).toMatchObject({ promoted: 1, hinted: 0, offloaded: 1 })
})

test('flows that have sent much and are quiet are not in the way of one that sends', async () => {
  const world = await hybridWorld({ policy: { candidates: 1 } })
  for (const number of [1, 2, 3, 4]) await world.hybrid.put(steer(flow(number)))
  for (const number of [1, 2, 3]) world.receive(flow(number), 10_000_000, 7000)
  await world.flood(flow(4), 5000, 5000)
  expect([...world.card.rules.keys()]).toEqual([flow(4).id])
})

test('the hardware is not asked for what it does not know, whatever is expected of the flow', async () => {
  const { clock, hybrid, nic, card } = await hybridWorld()
  let asked = 0
  nic.put = async () => {
    asked += 1
    return 'active'
  }
  await hybrid.put({ ...steer(flow(1)), ...LARGE, ended: true })
  await hybrid.put({ ...steer(flow(2)), ...LARGE, returning: true })
  Object.defineProperty(nic, 'manifest', { value: { ...nic.manifest, families: [6] } })
  await hybrid.put({ ...steer(flow(3)), ...LARGE })
  await clock.advance(1000)
  expect([asked, card.rules.size]).toEqual([0, 0])
})

test('a held flow is never steered by the hardware, and until then all packets go to the old target', async () => {
  const world = await withOffloaded({ profile: NIC_PROFILES.cx7 })
  const { clock, hybrid } = world
  const seen: string[] = []
  let held = false
  const hold = hybrid.put({ action: 'hold', flow: flow(1) }).then((outcome) => {
    held = true
    return outcome
  })
  while (!held) {
    seen.push(serverOf(world.receive(flow(1))))
    await clock.advance(0.1)
  }
  expect(await hold).toBe('active')
  expect(new Set(seen)).toEqual(new Set(['server 1']))
  expect(seen.length).toBeGreaterThan(10)
  for (let index = 0; index < 100; index++) {
    expect(serverOf(world.receive(flow(1)))).toBe('held')
    await clock.advance(10)
  }
  await hybrid.put({ ...steer(flow(1), 2), ...LARGE })
  expect(serverOf(world.receive(flow(1)))).toBe('server 2')
  await clock.advance(10)
  expect([world.card.rules.size, serverOf(world.receive(flow(1)))]).toEqual([1, 'server 2'])
})

test('hold does not wait for an insertion that was not started, and aborts the one that was', async () => {
  const { clock, hybrid, card } = await hybridWorld({ profile: NIC_PROFILES.cx7 })
  for (const number of [1, 2]) await hybrid.put({ ...steer(flow(number)), ...LARGE })
  const before = clock.now()
  await hybrid.put({ action: 'hold', flow: flow(2) })
  expect(clock.now()).toBe(before)
  await clock.until(hybrid.put({ action: 'hold', flow: flow(1) }))
  expect(clock.now() - before).toBeCloseTo(2143 + 1134)
  await clock.advance(1000)
  expect(card.rules.size).toBe(0)
  expect(hybrid.statistics().queue.cancelled).toEqual({ waiting: 1, executing: 1, installed: 0 })
})

test('hardware that does not let a rule go makes hold fail in time, and leaves the flow where it is', async () => {
  const world = await withOffloaded({ queue: { removal: 50 } })
  const { clock, hybrid, nic, card } = world
  nic.knobs.fault = (command) => (command === 'remove' ? { error: new RedirectorError('busy', 'not now') } : undefined)
  const before = clock.now()
  const changes: Promise<unknown>[] = [
    hybrid.put({ action: 'hold', flow: flow(1) }),
    hybrid.put(steer(flow(1), 2)),
    hybrid.remove(flow(1)),
  ]
  for (const change of changes) {
    const failure = await clock.until<unknown>(change.catch((error: unknown) => error))
    expect(failure).toBeInstanceOf(RedirectorError)
    expect(failure).toMatchObject({ reason: 'busy' })
    expect([serverOf(card.receive(flow(1))), serverOf(world.kernel.receive(flow(1)))]).toEqual(['server 1', 'server 1'])
  }
  expect(clock.now() - before).toBeLessThan(200_000)
  // Flows that the hardware has nothing of do not notice.
  await hybrid.put({ action: 'hold', flow: flow(2) })
  nic.knobs.fault = () => undefined
  await clock.until(hybrid.put({ action: 'hold', flow: flow(1) }))
  expect(serverOf(world.receive(flow(1)))).toBe('held')
})

test('a rule is out of the hardware before it is removed, marked as ended or as returning', async () => {
  for (const change of ['remove', 'ended', 'returning'] as const) {
    const world = await withOffloaded()
    const { clock, hybrid, card } = world
    const operation = change === 'remove' ? hybrid.remove(flow(1)) : hybrid.put({ ...steer(flow(1)), [change]: true })
    while (card.rules.size > 0) {
      expect(serverOf(world.kernel.receive(flow(1)))).toBe('server 1')
      expect(world.kernel.rules.get(flow(1).id)?.rule).not.toHaveProperty(change)
      await clock.advance(0.05)
    }
    await clock.until<unknown>(operation)
    expect(serverOf(world.receive(flow(1)))).toBe(change === 'remove' ? 'the stack' : 'server 1')
    await world.flood(flow(1), 5000, 1000)
    expect(card.rules.size).toBe(0)
  }
})

test('operations of a flow happen in the order of the calls', async () => {
  const world = await withOffloaded({ profile: NIC_PROFILES.cx7 })
  const { clock, hybrid } = world
  const done: string[] = []
  const operations = [
    hybrid.put({ action: 'hold', flow: flow(1) }).then(() => done.push('hold')),
    hybrid.put({ ...steer(flow(1), 2), ...LARGE }).then(() => done.push('steer')),
    hybrid.put({ action: 'hold', flow: flow(1), silent: true }).then(() => done.push('silent')),
    hybrid.remove(flow(1)).then(() => done.push('remove')),
    hybrid.put(steer(flow(1), 3)).then(() => done.push('steer again')),
  ]
  await hybrid.put(steer(flow(2)))
  done.push('another flow')
  await clock.until(Promise.all(operations))
  expect(done).toEqual(['another flow', 'hold', 'steer', 'silent', 'remove', 'steer again'])
  await clock.advance(100)
  expect([world.card.rules.size, serverOf(world.receive(flow(1)))]).toEqual([0, 'server 3'])
})

test('an operation that is aborted while it waits for the hardware changes nothing in software', async () => {
  const world = await withOffloaded()
  const { clock, hybrid } = world
  const abort = new AbortController()
  const hold = hybrid.put({ action: 'hold', flow: flow(1) }, { signal: abort.signal }).catch((error: unknown) => error)
  abort.abort(new Error('changed my mind'))
  expect(await hold).toEqual(new Error('changed my mind'))
  await clock.advance(10)
  expect([world.card.rules.size, serverOf(world.receive(flow(1)))]).toEqual([0, 'server 1'])
})

test('counters are the sum of both, do not go back when a flow is demoted, and begin again with another rule', async () => {
  const world = await hybridWorld({ policy: { idle: 2000, watchPause: 100 } })
  const { clock, hybrid, card } = world
  await hybrid.put(steer(flow(1)))
  world.receive(flow(1), 5000, 5)
  await hybrid.put({ ...steer(flow(1)), ...LARGE })
  const packets = async (): Promise<bigint | undefined> => (await clock.until(hybrid.counters(flow(1))))?.packets
  expect(await packets()).toBe(0n)
  world.receive(flow(1), 5000, 5)
  await clock.advance(10)
  world.receive(flow(1), 7000, 7)
  expect([card.rules.get(flow(1).id)?.packets, await packets()]).toEqual([7n, 12n])
  // Somebody sends just before nobody does.
  await clock.advance(1000)
  world.receive(flow(1), 100, 1)
  await clock.advance(6000)
  expect([card.rules.size, await packets(), hybrid.statistics().demoted.idle]).toEqual([0, 13n, 1])
  await world.flood(flow(1), 5000, 1000)
  expect([card.rules.size, await packets()]).toEqual([1, 5013n])
  const listed = await Array.fromAsync(hybrid.list())
  expect(listed[0]?.counters.packets).toBeGreaterThan(4000n)
  expect(await clock.until(hybrid.counters(flow(2)))).toBeUndefined()
  await clock.until(hybrid.put({ action: 'hold', flow: flow(1) }))
  expect(await packets()).toBe(0n)
})

test('counters do not wait for hardware that does not answer', async () => {
  const world = await withOffloaded({ policy: { counterLimit: 50 } })
  const { clock, hybrid, nic } = world
  world.receive(flow(1), 100, 3)
  await clock.until(hybrid.counters(flow(1)))
  nic.counters = () => new Promise(() => {})
  expect(await clock.until(hybrid.counters(flow(1)))).toMatchObject({ packets: 3n })
  nic.counters = () => Promise.reject(new Error('no'))
  expect(await clock.until(hybrid.counters(flow(1)))).toMatchObject({ packets: 3n })
})

test('its manifest is that of software', async () => {
  const { hybrid } = await hybridWorld()
  expect(hybrid.manifest).toMatchObject({
    name: 'memory+cx5-model',
    offload: 'software',
    holds: true,
    observable: true,
  })
})
