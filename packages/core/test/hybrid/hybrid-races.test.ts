import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { RedirectorError, type Rule } from '../../src/index.ts'
import { NIC_PROFILES, Random } from '../../src/simulation/index.ts'
import { slowSoftware } from './slow-software.ts'
import { flow, hybridWorld, steer } from './world.ts'

/** One flow as its only user knows it: what its packets must experience, and what else they may while operations are at work. */
interface FlowModel {
  now: string
  readonly pending: Set<string>
  abort: AbortController | undefined
}

interface Race {
  readonly operations: number
  readonly flows: number
  /** Mean pause between two operations, in microseconds. */
  readonly pause: number
  readonly faults: boolean
  readonly capacity: number
}

function text(rule: Rule | undefined): string {
  if (rule === undefined) return 'stack'
  if (rule.action === 'hold') return 'hold'
  return rule.target.mode === 'l2' ? `server ${rule.target.mac}` : rule.target.mode
}

/**
 * Random operations on flows that send all the time, on a hybrid whose NIC is slow and unreliable and whose software takes its time, in
 * virtual time. Every packet must take the rule that was put last, or, while an operation is at work, the one before. In the end software has
 * exactly those rules, and the NIC nothing else.
 */
async function race(seed: number, { operations, flows, pause, faults, capacity }: Race) {
  const random = new Random(seed)
  const world = await hybridWorld({
    profile: NIC_PROFILES.cx7,
    capacity,
    policy: {
      ...{ minimumBytes: 5000, minimumAge: 4, minimumPacketsPerSecond: 1, tick: 2, rulesPerTick: 16, scanPause: 1 },
      ...{ watchPause: 5, idle: 60, minimumStay: 10, backOff: 2, maximumBackOff: 50, penalty: 100, counterLimit: 5 },
    },
    queue: { length: 20, insertion: 25, removal: 30, execution: 20, retry: 5, maximumRetry: 40 },
    around: (software, clock) => slowSoftware(software, clock, random),
  })
  const { clock, hybrid, nic, card, kernel } = world
  nic.knobs.insertMicroseconds = () => random.between(100, 3000)
  nic.knobs.removeMicroseconds = () => random.between(100, 2000)
  if (faults) {
    nic.knobs.fault = () => {
      if (!random.chance(0.05)) return undefined
      const reason = random.pick(['full', 'unsupported', 'busy', 'gone'] as const)
      return { error: new RedirectorError(reason, 'a fault'), carriedOut: reason === 'busy' && random.chance(0.5) }
    }
  }
  const models = Array.from(
    { length: flows },
    (): FlowModel => ({ now: 'stack', pending: new Set(), abort: undefined }),
  )
  const promises: Promise<void>[] = []
  let busy = 0

  const send = (number: number): void => {
    const model = models[number] as FlowModel
    const seen = text(world.receive(flow(number), 3000, 2))
    if (seen === model.now || model.pending.has(seen)) return
    throw new Error(`flow ${number}: a packet takes "${seen}" instead of "${model.now}"`)
  }
  const operate = async (number: number, model: FlowModel, rule: Rule | undefined): Promise<void> => {
    // One at a time, as the handoffs of one flow: then it is known what must be in force.
    if (model.abort !== undefined) return
    const abort = new AbortController()
    const wanted = text(rule)
    model.abort = abort
    model.pending.add(wanted)
    try {
      const options = { signal: abort.signal }
      await (rule === undefined ? hybrid.remove(flow(number), options) : hybrid.put(rule, options))
      model.now = wanted
    } catch (error) {
      busy += abort.signal.aborted ? 0 : 1
      if (error !== abort.signal.reason) expect(error).toMatchObject({ reason: 'busy' })
    }
    model.pending.delete(wanted)
    model.abort = undefined
    send(number)
  }
  const act = (): void => {
    const number = random.below(flows)
    const model = models[number] as FlowModel
    const dice = random.below(100)
    const hint = random.chance(0.3) ? { expectedBytes: 10_000_000 } : {}
    if (dice < 50) promises.push(operate(number, model, { ...steer(flow(number), random.between(1, 250)), ...hint }))
    else if (dice < 75) promises.push(operate(number, model, { action: 'hold', flow: flow(number) }))
    else if (dice < 90) promises.push(operate(number, model, undefined))
    else model.abort?.abort(new Error('aborted'))
    // A few send much.
    for (let index = 0; index < 4; index++)
      send(random.chance(0.5) ? random.below(flows) : random.below(Math.ceil(flows / 8)))
  }
  let ended = false
  const end = (): void => {
    ended = true
  }
  for (let done = 0, at = 0; done < operations; done++) {
    at += random.below(2 * pause) / 1000
    clock.after(at, act)
    if (done === operations - 1) clock.after(at, end)
    if (!faults || done % 2000 !== 0) continue
    clock.after(at, () => nic.stall())
    clock.after(at + random.below(60), () => nic.resume())
    clock.after(at + random.below(100), () => void nic.loseRules())
    clock.after(at, () => {
      nic.knobs.activation = random.pick(['on-return', 'on-return', 'never', 5000] as const)
    })
  }
  await clock.run(() => ended)
  const { promoted, hinted, demoted, queue, passedOver } = hybrid.statistics()
  // The way it ends: nothing is wrong any more.
  nic.knobs.fault = () => undefined
  nic.resume()
  await clock.until(Promise.all(promises))
  await clock.advance(200)
  const wanted = models.flatMap(({ now }, number) => (now === 'stack' ? [] : [`${flow(number)} ${now}`]))
  expect([...kernel.rules.values()].map(({ rule }) => `${rule.flow} ${text(rule)}`).sort()).toEqual(wanted.sort())
  for (const listed of await Array.fromAsync(nic.list())) {
    expect(text(listed.rule)).toBe(text(kernel.rules.get(listed.rule.flow.id)?.rule))
  }
  await clock.until(Promise.all(models.map((_, number) => hybrid.remove(flow(number)))))
  expect([kernel.rules.size, card.rules.size, (await Array.fromAsync(nic.list())).length]).toEqual([0, 0, 0])
  await clock.until(hybrid.close())
  return { promoted, hinted, demoted, queue, passedOver, busy }
}

test('100,000 operations on flows that send all the time: no packet ever takes a rule that is not in force', async () => {
  const result = await race(4242, { operations: 100_000, flows: 200, pause: 400, faults: true, capacity: 40 })
  // Everything that can happen has happened, many times.
  const { promoted, hinted, demoted, queue, passedOver, busy } = result
  const counts = [promoted - hinted, hinted, passedOver, ...Object.values(demoted), ...Object.values(queue.cancelled)]
  for (const count of counts) expect(count).toBeGreaterThan(10)
  expect(busy).toBeGreaterThan(10)
}, 180_000)

test('no mixture of sizes, speeds and faults lets a packet take a rule that is not in force', async () => {
  const races = fc.record({
    operations: fc.integer({ min: 1, max: 500 }),
    flows: fc.integer({ min: 1, max: 20 }),
    pause: fc.integer({ min: 50, max: 5000 }),
    faults: fc.boolean(),
    capacity: fc.integer({ min: 1, max: 10 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.nat(), races, async (seed, options) => {
      await race(seed, options)
    }),
    { numRuns: 100 },
  )
}, 180_000)
