import { expect, test } from 'bun:test'
import { RedirectorError } from '../../src/index.ts'
import { flow, HybridWorld, hybridWorld, steer } from './world.ts'

const LARGE = { expectedBytes: 100_000_000 }

test('after a crash what the hardware has is kept if software has the same, and removed otherwise', async () => {
  const world = await hybridWorld()
  const { clock, card, kernel } = world
  for (let number = 1; number <= 6; number++) await world.hybrid.put({ ...steer(flow(number)), ...LARGE })
  await world.flood(flow(1), 1000, 100)
  expect(card.rules.size).toBe(6)
  world.crash()
  // What a crash cannot leave, but an accident can.
  const change = (number: number, rule: object): void => {
    const entry = kernel.rules.get(flow(number).id)
    if (entry !== undefined) entry.rule = { ...entry.rule, ...rule } as typeof entry.rule
  }
  kernel.rules.delete(flow(2).id)
  change(3, { action: 'hold' })
  change(4, { target: steer(flow(4), 9).target })
  change(5, { ended: true })
  await world.open()
  expect([...card.rules.keys()].sort()).toEqual([flow(1).id, flow(6).id].sort())
  expect(world.hybrid.statistics()).toMatchObject({ offloaded: 2, strays: 4 })
  // What was kept is known: it is counted, and waited for.
  expect((await clock.until(world.hybrid.counters(flow(1))))?.packets).toBeGreaterThan(50n)
  await clock.until(world.hybrid.put({ action: 'hold', flow: flow(1) }))
  expect([...card.rules.keys()]).toEqual([flow(6).id])
})

test('release leaves the rules of both in force, and close removes them', async () => {
  const world = await hybridWorld()
  await world.hybrid.put({ ...steer(flow(1)), ...LARGE })
  await world.hybrid.put(steer(flow(2)))
  await world.clock.advance(10)
  await world.clock.until(world.hybrid.release())
  expect([world.card.rules.size, world.kernel.rules.size]).toEqual([1, 2])
  await expect(world.hybrid.put(steer(flow(3)))).rejects.toMatchObject({ reason: 'gone' })
  await world.open()
  expect(world.hybrid.statistics().offloaded).toBe(1)
  await world.clock.until(world.hybrid.close())
  expect([world.card.rules.size, world.kernel.rules.size]).toEqual([0, 0])
  await world.hybrid.close()
  await world.hybrid.release()
})

test('a release with a command in the hardware waits for its answer', async () => {
  const world = await hybridWorld()
  await world.hybrid.put({ ...steer(flow(1)), ...LARGE })
  await world.hybrid.put({ ...steer(flow(2)), ...LARGE })
  await world.clock.until(world.hybrid.release())
  expect([...world.card.rules.keys()]).toEqual([flow(1).id])
  await world.open()
  expect([world.card.rules.size, world.kernel.rules.size]).toEqual([1, 2])
})

test('it does not open when what is left over cannot be removed, and leaves everything as it is', async () => {
  const failing = new HybridWorld({ knobs: { fault: () => ({ error: new RedirectorError('busy', 'no') }) } })
  failing.card.rules.set(flow(1).id, { rule: steer(flow(1)), packets: 0n, bytes: 0n, lastSeen: 0n })
  await expect(failing.open()).rejects.toMatchObject({ reason: 'busy' })
  expect([failing.card.owner, failing.kernel.owner, failing.card.rules.size]).toEqual([undefined, undefined, 1])
})

test('when the hardware cannot be opened software is given back', async () => {
  const world = await hybridWorld()
  world.crash()
  world.card.owner = 'somebody else'
  await expect(world.open()).rejects.toMatchObject({ reason: 'busy' })
  expect(world.kernel.owner).toBeUndefined()
})
