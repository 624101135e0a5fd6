import type { FlowKey } from '../flow.ts'
import type { Clock } from '../ports.ts'
import type { FlowCounters, ListedRule, Redirector, Rule, SteerRule } from '../redirector.ts'
import { Candidates } from './candidates.ts'
import { ChangedFlows } from './changed-flows.ts'
import type { FlowOrder } from './flow-order.ts'
import type { HybridPolicy } from './options.ts'
import { PacedPass } from './paced-pass.ts'

/** Of a flow that has not sent anything for so long when it is seen, nothing more is expected; CLOCK_MONOTONIC nanoseconds. */
const RECENT = 2_000_000_000n
/** How much of the time a look at all rules may take: the list of an almost empty table goes through all of its buckets at once. */
const SHARE = 0.02
/** The most candidates that are looked at again in one step. */
const SECOND_LOOKS = 64

export interface ScanOptions {
  readonly software: Redirector
  readonly clock: Clock
  readonly policy: HybridPolicy
  /** The operations of callers. */
  readonly order: FlowOrder
  /** Whether the hardware could have the rule, and has nothing of the flow. */
  readonly suits: (rule: Rule) => rule is SteerRule
  /** A flow that has proven worth `worth` bytes in a second. Its rule is certainly the one that the software redirector has now. */
  readonly promote: (rule: SteerRule, worth: number) => void
}

/**
 * Finds flows that are worth a rule in hardware, among any number of flows and with little work at a time. Nothing is kept of a flow that is
 * not: the rules of the software redirector are listed again and again, some in each step. One that has sent enough is a candidate; after a
 * while it is looked at again, and what it has sent meanwhile decides.
 *
 * What was listed may be out of date: a rule that was put, or removed, since the pass has begun does not count, nor does one that is being
 * put or removed. So no decision is made on a rule that is not in force any more.
 */
export class Scan {
  readonly #options: ScanOptions
  readonly #pass: PacedPass
  readonly #candidates: Candidates
  readonly #changed = new ChangedFlows()
  #looking = false
  /** When the last packet of any flow was seen: it is now, or it was when something was last sent. */
  #latest = 0n

  constructor(options: ScanOptions) {
    this.#options = options
    const { software, clock, policy } = options
    this.#candidates = new Candidates(policy.candidates)
    this.#pass = new PacedPass({
      clock,
      list: () => software.list(),
      limit: policy.rulesPerTick,
      pause: policy.scanPause,
      share: SHARE,
      begin: () => this.#changed.clear(),
      each: (listed) => this.#look(listed),
      end: () => {},
    })
  }

  get candidates(): number {
    return this.#candidates.size
  }

  get passes(): number {
    return this.#pass.completed
  }

  /** Milliseconds of the last pass. */
  get duration(): number {
    return this.#pass.duration
  }

  /** To be called before the flow's rule changes. */
  changing(flow: FlowKey): void {
    this.#candidates.delete(flow.id)
  }

  /** To be called when that has been tried, while the operation is still in the {@link FlowOrder}. */
  changed(flow: FlowKey): void {
    // A list that has not begun has the new rule.
    if (this.#pass.running) this.#changed.add(flow)
  }

  /** Looks at some more rules, and again at some candidates. */
  async step(): Promise<void> {
    await Promise.all([this.#pass.step(), this.#lookAgain()])
  }

  stop(): void {
    this.#pass.stop()
    this.#candidates.clear()
  }

  #look({ rule, counters }: ListedRule): void {
    const { clock, policy, order, suits } = this.#options
    if (counters.lastSeen > this.#latest) this.#latest = counters.lastSeen
    if (Number(counters.bytes) < policy.minimumBytes || this.#latest - counters.lastSeen > RECENT) return
    if (this.#candidates.full || !suits(rule) || this.#candidates.has(rule.flow.id)) return
    if (order.has(rule.flow) || this.#changed.has(rule.flow)) return
    this.#candidates.add({ rule, since: clock.now(), counters })
  }

  async #lookAgain(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { software, clock, policy, suits, promote } = this.#options
      for (let count = 0; count < SECOND_LOOKS; count++) {
        const candidate = this.#candidates.due(clock.now() - policy.minimumAge * 1000)
        if (candidate === undefined) return
        const counters = await software.counters(candidate.rule.flow)
        if (!this.#candidates.take(candidate) || counters === undefined) continue
        const seconds = (clock.now() - candidate.since) / 1e6
        const { packets, bytes } = grown(candidate.counters, counters)
        if (packets / seconds >= policy.minimumPacketsPerSecond && suits(candidate.rule)) {
          promote(candidate.rule, bytes / seconds)
        }
      }
    } finally {
      this.#looking = false
    }
  }
}

function grown(before: FlowCounters, now: FlowCounters): { packets: number; bytes: number } {
  return { packets: Number(now.packets - before.packets), bytes: Number(now.bytes - before.bytes) }
}
