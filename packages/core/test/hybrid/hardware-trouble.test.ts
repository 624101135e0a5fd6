import { expect, test } from 'bun:test'
import { RedirectorError } from '../../src/index.ts'
import { flow, hybridWorld, steer } from './world.ts'

const LARGE = { expectedBytes: 100_000_000 }
const QUICK = { watchPause: 100, scanPause: 20, minimumStay: 500, idle: 2000 }

test('in a full table the flow worth least makes room for one that is worth twice as much', async () => {
  const world = await hybridWorld({ capacity: 3, policy: QUICK })
  const { hybrid, card } = world
  for (const number of [1, 2, 3, 4, 5]) await hybrid.put(steer(flow(number)))
  const rates = [4000, 2000, 3000, 0, 0]
  const offloaded = (): number[] => [1, 2, 3, 4, 5].filter((number) => card.rules.has(flow(number).id))
  const run = async (milliseconds: number): Promise<void> => {
    for (let at = 0; at < milliseconds; at += 20) {
      for (const [index, rate] of rates.entries()) if (rate > 0) world.receive(flow(index + 1), rate * 30, rate / 50)
      await world.clock.advance(20)
    }
  }
  await run(2000)
  expect(offloaded()).toEqual([1, 2, 3])
  // Worth more than the least, but not enough more to be worth the change.
  rates[3] = 3500
  await run(3000)
  expect(offloaded()).toEqual([1, 2, 3])
  expect(hybrid.statistics().passedOver).toBeGreaterThan(0)
  rates[4] = 10_000
  await run(3000)
  expect(offloaded()).toEqual([1, 3, 5])
  expect(hybrid.statistics().demoted).toMatchObject({ displaced: 1, idle: 0 })
})

test('two flows whose rates change all the time do not take turns without end', async () => {
  const world = await hybridWorld({ capacity: 1, policy: { ...QUICK, minimumStay: 6000 } })
  const { hybrid, clock } = world
  for (const number of [1, 2]) await hybrid.put(steer(flow(number)))
  for (let at = 0; at < 60_000; at += 20) {
    const first = at % 2000 < 1000
    world.receive(flow(1), first ? 90_000 : 3000, first ? 60 : 2)
    world.receive(flow(2), first ? 3000 : 90_000, first ? 2 : 60)
    await clock.advance(20)
  }
  expect(hybrid.statistics().demoted.displaced).toBeLessThanOrEqual(10)
  expect(hybrid.statistics().offloaded).toBe(1)
})

test('hardware that says that it is full is believed, though its manifest has more room', async () => {
  const world = await hybridWorld({ policy: QUICK })
  const { hybrid, nic, card, clock } = world
  let refusals = 0
  nic.knobs.fault = (command, { id }) => {
    if (command === 'remove' || card.rules.size < 2 || card.rules.has(id)) return undefined
    refusals += 1
    return { error: new RedirectorError('full', 'no space left in the table') }
  }
  for (let number = 1; number <= 50; number++) {
    await hybrid.put({ ...steer(flow(number)), ...LARGE })
    await clock.advance(20)
  }
  expect([card.rules.size, refusals]).toEqual([2, 1])
  // Where one goes another one can come.
  await clock.until(hybrid.remove(flow(1)))
  await clock.advance(100)
  await hybrid.put({ ...steer(flow(60)), ...LARGE })
  await clock.advance(100)
  expect([card.rules.size, card.rules.has(flow(60).id), refusals]).toEqual([2, true, 1])
})

test('hardware that refuses everything is asked more and more rarely, and nobody notices', async () => {
  const world = await hybridWorld({ policy: { backOff: 100, maximumBackOff: 10_000 } })
  const { hybrid, nic, clock, errors } = world
  const attempts: number[] = []
  nic.knobs.fault = () => {
    attempts.push(clock.now())
    return { error: new RedirectorError('unsupported', 'mlx5_core: Failed to offload') }
  }
  for (let number = 1; number <= 3000; number++) {
    expect(await hybrid.put({ ...steer(flow(number)), ...LARGE })).toBe('active')
    await clock.advance(20)
  }
  // A minute: 0, 0.1, 0.3, 0.7, 1.5, ... seconds, and every ten in the end.
  expect(attempts.length).toBeWithin(8, 14)
  expect(errors).toHaveLength(attempts.length)
  expect(hybrid.statistics()).toMatchObject({ failures: attempts.length, promoted: 0, offloaded: 0 })
  nic.knobs.fault = () => undefined
  await clock.advance(10_000)
  await hybrid.put({ ...steer(flow(5000)), ...LARGE })
  await clock.advance(20)
  expect(hybrid.statistics()).toMatchObject({ failures: 0, promoted: 1 })
})

test('a rule that the hardware takes and does nothing for is taken back', async () => {
  const world = await hybridWorld({ policy: QUICK, knobs: { activation: 'never' } })
  await world.hybrid.put({ ...steer(flow(1)), ...LARGE })
  await world.flood(flow(1), 1000, 1000)
  expect(world.hybrid.statistics()).toMatchObject({ promoted: 1, offloaded: 1 })
  await world.flood(flow(1), 1000, 3000)
  expect(world.hybrid.statistics()).toMatchObject({ offloaded: 0, demoted: { inert: 1, idle: 0 } })
  // It is not tried again so soon.
  await world.flood(flow(1), 1000, 5000)
  expect(world.hybrid.statistics()).toMatchObject({ promoted: 1 })
  expect(await Array.fromAsync(world.nic.list())).toEqual([])
})

test('rules that become active late are used, and removed though they are not active yet', async () => {
  const world = await hybridWorld({ policy: QUICK, knobs: { activation: 100_000 } })
  const { hybrid, card, clock } = world
  for (const number of [1, 2]) await hybrid.put({ ...steer(flow(number)), ...LARGE })
  await clock.advance(50)
  expect([hybrid.statistics().promoted, card.rules.size]).toEqual([2, 0])
  await clock.until(hybrid.put({ action: 'hold', flow: flow(2) }))
  await clock.advance(500)
  expect([...card.rules.keys()]).toEqual([flow(1).id])
})

test('after the hardware has lost its rules software goes on, and what is worth it comes back', async () => {
  const world = await hybridWorld({ policy: QUICK })
  const { hybrid, nic, card } = world
  await hybrid.put({ ...steer(flow(1)), ...LARGE })
  await world.flood(flow(1), 5000, 1000)
  expect(card.rules.size).toBe(1)
  await nic.loseRules()
  expect(world.receive(flow(1))).toMatchObject({ action: 'steer' })
  await world.flood(flow(1), 5000, 2000)
  expect([card.rules.size, hybrid.statistics().demoted.lost, hybrid.statistics().promoted]).toEqual([1, 1, 2])
})

test('lost counters make a flow look idle, and harm nobody', async () => {
  const world = await hybridWorld({ policy: QUICK, knobs: { counting: false } })
  await world.hybrid.put({ ...steer(flow(1)), ...LARGE })
  for (let round = 0; round < 50; round++) {
    await world.flood(flow(1), 5000, 200)
    expect(world.receive(flow(1))).toMatchObject({ action: 'steer' })
  }
  expect(world.hybrid.statistics().demoted.idle).toBeGreaterThan(0)
})

test('a rule of the hardware that nobody knows of is removed', async () => {
  const world = await hybridWorld({ policy: QUICK })
  await world.clock.until(world.nic.put(steer(flow(1))))
  await world.clock.advance(1000)
  expect([world.card.rules.size, world.hybrid.statistics().strays]).toEqual([0, 1])
})

test('a stall makes nobody wait but those that need the hardware, and it goes on afterwards', async () => {
  const world = await hybridWorld({ policy: QUICK, queue: { removal: 100, execution: 200 } })
  const { hybrid, nic, clock, card } = world
  await hybrid.put({ ...steer(flow(1)), ...LARGE })
  await clock.advance(10)
  nic.stall()
  await hybrid.put({ ...steer(flow(2)), ...LARGE })
  const before = clock.now()
  await hybrid.put({ action: 'hold', flow: flow(3) })
  expect(clock.now()).toBe(before)
  await clock.until(hybrid.put({ action: 'hold', flow: flow(1) }).catch(() => {}))
  expect(clock.now() - before).toBeLessThanOrEqual(110_000)
  await clock.advance(1000)
  expect(hybrid.statistics().queue).toMatchObject({ stalled: true })
  nic.resume()
  await clock.advance(1000)
  expect([card.rules.size, hybrid.statistics().queue.stalled]).toEqual([0, false])
  await world.flood(flow(2), 5000, 1000)
  expect(card.rules.size).toBe(1)
})
