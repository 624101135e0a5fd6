import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type InsertionResult, RedirectorError, type Rule, type SteerRule } from '../../src/index.ts'
import { NIC_PROFILES, Random } from '../../src/simulation/index.ts'
import { flow, queueWorld, steer } from './world.ts'

/** What may be in the hardware of one flow, as its only user knows it. */
interface FlowModel {
  /** Rules that may be in force, by the numbers of their handoffs: those that were put since the last proof that there is none. */
  readonly possible: Set<number>
  /** The rule that was installed last and was not withdrawn. */
  installed: SteerRule | undefined
  /** Counts calls that withdraw. */
  withdrawals: number
  abort: AbortController | undefined
}

interface Race {
  readonly operations: number
  readonly flows: number
  /** Mean pause between two operations, in microseconds. */
  readonly pause: number
  readonly faults: boolean
  readonly capacity: number
  readonly length: number
  readonly insertion: number
}

/**
 * Random insertions, removals and aborts against a slow NIC, in virtual time. With every step the device has only rules that may be there; in
 * the end, when all is quiet, exactly those that were installed and not withdrawn.
 */
async function race(seed: number, { operations, flows, pause, faults, capacity, length, insertion }: Race) {
  const random = new Random(seed)
  const limits = { length, insertion, removal: 30, execution: 20, retry: 5, maximumRetry: 40 }
  const { clock, device, nic, queue } = await queueWorld({ profile: NIC_PROFILES.cx7, capacity, limits })
  nic.knobs.insertMicroseconds = () => random.between(100, 4000)
  nic.knobs.removeMicroseconds = () => random.between(100, 2000)
  if (faults) {
    nic.knobs.fault = () => {
      if (!random.chance(0.1)) return undefined
      const reason = random.pick(['full', 'unsupported', 'busy', 'gone'] as const)
      const carriedOut = (reason === 'busy' || reason === 'gone') && random.chance(0.5)
      return { error: new RedirectorError(reason, 'a fault'), carriedOut }
    }
  }
  const models = Array.from(
    { length: flows },
    (): FlowModel => ({ possible: new Set(), installed: undefined, withdrawals: 0, abort: undefined }),
  )
  const results = new Map<string, number>()
  const promises: Promise<unknown>[] = []
  let handoffs = 0

  const check = (number: number): void => {
    const found = device.rules.get(flow(number).id)?.rule
    if (found !== undefined && !models[number]?.possible.has(found.handoff?.handoff ?? 0)) {
      throw new Error(`flow ${number}: a stale rule for ${found.flow}`)
    }
  }
  const withdraw = (model: FlowModel): void => {
    model.withdrawals += 1
    model.installed = undefined
  }
  const put = (number: number, model: FlowModel): void => {
    const handoff = ++handoffs
    const rule = { ...steer(flow(number)), handoff: { handoff, epoch: 1 } }
    const abort = new AbortController()
    const { withdrawals } = model
    model.possible.add(handoff)
    model.abort = abort
    const settle = ({ result }: InsertionResult): void => {
      results.set(result, (results.get(result) ?? 0) + 1)
      if (model.abort === abort) model.abort = undefined
      if (result === 'installed') {
        expect(model.withdrawals).toBe(withdrawals)
        model.installed = rule
      }
      // What may be there is removed, and what was there before with it.
      const undone = result === 'failed' || result === 'withdrawn'
      if (undone && model.withdrawals === withdrawals) model.installed = undefined
    }
    promises.push(queue.put(rule, { worth: random.below(3), signal: abort.signal }).then(settle))
  }
  const remove = async (number: number, model: FlowModel): Promise<void> => {
    withdraw(model)
    const before = [...model.possible]
    try {
      await queue.remove(flow(number))
    } catch (error) {
      expect(error).toMatchObject({ reason: 'busy' })
      return
    }
    // Rules put since may be there; those before are gone for good.
    for (const handoff of before) model.possible.delete(handoff)
    check(number)
  }
  const operate = (): void => {
    const number = random.below(flows)
    const model = models[number] as FlowModel
    const dice = random.below(100)
    if (dice < 50) put(number, model)
    else if (dice < 80) promises.push(remove(number, model))
    else {
      // An insertion that has been answered cannot be aborted any more.
      if (dice < 90 && model.abort === undefined) return
      withdraw(model)
      if (dice < 90) model.abort?.abort()
      else queue.discard(flow(number))
    }
    for (let index = 0; index < 4; index++) check(random.below(flows))
  }
  for (let done = 0, at = 0; done < operations; done++) {
    at += random.below(2 * pause) / 1000
    clock.after(at, operate)
    if (faults && done % 1000 === 0) {
      clock.after(at, () => nic.stall())
      clock.after(at + random.below(60), () => nic.resume())
    }
  }
  await clock.run()
  // The way it ends: the hardware answers, and nothing is wrong any more.
  nic.knobs.fault = () => undefined
  nic.resume()
  await clock.run()
  await Promise.all(promises)
  return { device, models, queue, nic, results, flows }
}

function dump(rules: Iterable<Rule>): string[] {
  return [...rules].map(({ flow, handoff }) => `${flow} ${handoff?.handoff}`).sort()
}

async function expectNothingStale(seed: number, options: Race) {
  const raced = await race(seed, options)
  const { device, models, queue, nic } = raced
  const wanted = models.flatMap(({ installed }) => (installed === undefined ? [] : [installed]))
  expect(dump([...device.rules.values()].map(({ rule }) => rule))).toEqual(dump(wanted))
  expect(queue.size).toBe(wanted.length)
  // The hardware never has more than one command, and no insertion waits for longer than it may.
  expect(nic.longestLine).toBeLessThanOrEqual(1)
  expect(queue.statistics().insertionWait.max).toBeLessThanOrEqual((options.insertion + 4) * 1000)
  return raced
}

const MANY: Race = {
  operations: 100_000,
  flows: 300,
  pause: 1000,
  faults: true,
  capacity: 200,
  length: 20,
  insertion: 25,
}

test('100,000 insertions, removals and aborts against a slow NIC with faults leave no stale rule', async () => {
  const { queue, results } = await expectNothingStale(4242, MANY)
  const statistics = queue.statistics()
  // Everything that can happen has happened, many times.
  const { cancelled, expired, refused, replaced, failedInsertions, failedRemovals, unproven, stalls } = statistics
  for (const count of [...Object.values(cancelled), expired, refused, replaced, failedInsertions, failedRemovals]) {
    expect(count).toBeGreaterThan(100)
  }
  for (const count of [unproven, stalls]) expect(count).toBeGreaterThan(20)
  const all = ['installed', 'withdrawn', 'replaced', 'expired', 'not-taken', 'refused', 'failed'] as const
  for (const result of all) expect(results.get(result) ?? 0).toBeGreaterThan(100)
}, 120_000)

test('no mixture of speeds, sizes and faults leaves a stale rule', async () => {
  const races = fc.record({
    operations: fc.integer({ min: 1, max: 400 }),
    flows: fc.integer({ min: 1, max: 20 }),
    pause: fc.integer({ min: 1, max: 5000 }),
    faults: fc.boolean(),
    capacity: fc.integer({ min: 1, max: 20 }),
    length: fc.integer({ min: 1, max: 20 }),
    insertion: fc.integer({ min: 1, max: 100 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.nat(), races, async (seed, options) => {
      await expectNothingStale(seed, options)
    }),
    { numRuns: 200 },
  )
}, 120_000)
