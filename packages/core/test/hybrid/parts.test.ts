import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { ChangedFlows } from '../../src/hybrid/changed-flows.ts'
import { FlowOrder } from '../../src/hybrid/flow-order.ts'
import { OffloadedFlows, offloadedFlow } from '../../src/hybrid/offloaded-flows.ts'
import { PacedPass } from '../../src/hybrid/paced-pass.ts'
import { BoundedMap } from '../../src/hybrid/totals.ts'
import { settled, VirtualClock } from '../rule-queue/virtual-clock.ts'
import { flow, steer } from './world.ts'

test('the operations of a flow have their turns one after another', async () => {
  const order = new FlowOrder()
  const begun: number[] = []
  const turns = [0, 1, 2, 3].map((index) => {
    const turn = order.enter(flow(1)) ?? Promise.resolve()
    return turn.then(() => begun.push(index))
  })
  expect(order.enter(flow(2))).toBeUndefined()
  for (const [index, turn] of turns.entries()) {
    await turn
    await settled()
    expect(begun).toEqual([0, 1, 2, 3].slice(0, index + 1))
    expect(order.has(flow(1))).toBe(true)
    order.leave(flow(1))
  }
  expect(order.has(flow(1))).toBe(false)
  expect(order.has(flow(2))).toBe(true)
})

test('every flow that has changed is known to have', () => {
  const changed = new ChangedFlows()
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 59_999 }), { maxLength: 2000 })
  fc.assert(
    fc.property(numbers, (list) => {
      changed.clear()
      const isOdd = (number: number): boolean => number % 2 === 1
      for (const number of list.filter(isOdd)) changed.add(flow(number))
      expect(list.filter(isOdd).every((number) => changed.has(flow(number)))).toBe(true)
      const wrong = list.filter((number) => !isOdd(number) && changed.has(flow(number)))
      expect(wrong.length).toBeLessThanOrEqual(10)
    }),
    { numRuns: 20 },
  )
})

test('a pass looks at no more rules in a step than it may, and at all in the end', async () => {
  const clock = new VirtualClock()
  const listed = Array.from({ length: 95 }, (_, number) => ({
    rule: steer(flow(number)),
    counters: offloadedFlow(steer(flow(1)), 0).counters,
  }))
  const seen: number[] = []
  let passes = 0
  const pass = new PacedPass({
    clock,
    async *list() {
      yield* listed
    },
    ...{ limit: 10, pause: 50 },
    begin: () => seen.push(0),
    each: () => {
      seen.push((seen.pop() as number) + 1)
    },
    end: () => {
      passes += 1
    },
  })
  for (let step = 0; step < 10; step++) {
    await pass.step()
    expect(seen[0]).toBe(Math.min(10 * (step + 1), 95))
  }
  expect([passes, pass.completed]).toEqual([1, 1])
  await pass.step()
  expect(seen).toEqual([95])
  await clock.advance(50)
  await pass.step()
  expect(seen).toEqual([95, 10])
  pass.stop()
  await pass.step()
  expect(seen).toEqual([95, 10])
})

test('a pass that takes its time is followed by a pause so long that its share is kept', async () => {
  const clock = new VirtualClock()
  let begun = 0
  const pass = new PacedPass({
    clock,
    // biome-ignore lint/correctness/useYield: of an empty table that is large.
    async *list() {
      await clock.advance(8)
    },
    ...{ limit: 10, pause: 50, share: 0.02, each: () => {}, end: () => {} },
    begin: () => {
      begun += 1
    },
  })
  await pass.step()
  expect(pass.duration).toBe(8)
  // 8 ms of 400.
  await clock.advance(391)
  await pass.step()
  expect(begun).toBe(1)
  await clock.advance(1)
  await pass.step()
  expect(begun).toBe(2)
})

test('a list that fails is begun again after a pause', async () => {
  const clock = new VirtualClock()
  let begun = 0
  const pass = new PacedPass({
    clock,
    // biome-ignore lint/correctness/useYield: it fails first.
    async *list() {
      throw new Error('not now')
    },
    ...{ limit: 10, pause: 50, each: () => {}, end: () => {} },
    begin: () => {
      begun += 1
    },
  })
  await expect(pass.step()).rejects.toThrow('not now')
  await pass.step()
  expect(begun).toBe(1)
  await clock.advance(50)
  await expect(pass.step()).rejects.toThrow('not now')
})

test('the flow worth least is found among those that have been there for long enough', () => {
  const rates = fc.uniqueArray(fc.nat(10_000), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(rates, (list) => {
      const flows = new OffloadedFlows()
      for (const [index, rate] of list.entries()) {
        const offloaded = { ...offloadedFlow(steer(flow(index)), 0), rate, installed: index % 3 === 0 ? 100 : 1 }
        flows.add(offloaded)
        flows.ranked(offloaded)
      }
      expect(flows.worthLeast(50)).toBeUndefined()
      flows.rankingComplete()
      const old = list.filter((_, index) => index % 3 !== 0)
      const least = flows.worthLeast(50)
      if (old.length > 0 || least !== undefined) expect(least?.rate).toBe(Math.min(...old))
      if (least === undefined) return
      flows.leave(least, 'displaced')
      expect(flows.worthLeast(50)?.rate ?? 10_001).toBeGreaterThan(least.rate as number)
      expect([flows.size, flows.staying]).toEqual([list.length, list.length - 1])
      flows.delete(least)
      expect([flows.size, flows.staying]).toEqual([list.length - 1, list.length - 1])
    }),
  )
})

test('a bounded map forgets the oldest', () => {
  const map = new BoundedMap<number>(3)
  for (const key of ['a', 'b', 'c', 'a', 'd']) map.set(key, 1)
  expect(['a', 'b', 'c', 'd'].filter((key) => map.get(key) !== undefined)).toEqual(['a', 'c', 'd'])
})
