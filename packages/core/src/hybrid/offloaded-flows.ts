import type { FlowCounters, SteerRule } from '../redirector.ts'
import type { DemotionReason } from './options.ts'
import { NO_PACKETS } from './totals.ts'

/** A flow that has a rule in the hardware, or is to get one. Times are in microseconds. */
export interface OffloadedFlow {
  /** What the software redirector says of the flow, as long as this is here. */
  readonly rule: SteerRule
  /** Since when the hardware has the rule; undefined when it has not taken it yet. */
  installed: number | undefined
  /** What the hardware had counted when it was last asked, and when that was. */
  counters: FlowCounters
  asked: number
  /** Since when that has not grown. */
  quiet: number
  /** Bytes in a second, between the last two times. Undefined until it was asked twice. */
  rate: number | undefined
  /** The pass over the hardware's rules that has found it last. */
  pass: number
  /** Packets that software had counted when the hardware had counted nothing for a while. */
  inSoftware: bigint | undefined
  /** Its rule is being taken out of the hardware. */
  leaving: DemotionReason | 'changed' | undefined
}

export function offloadedFlow(rule: SteerRule, now: number): OffloadedFlow {
  return {
    rule,
    installed: undefined,
    counters: NO_PACKETS,
    asked: now,
    quiet: now,
    rate: undefined,
    pass: 0,
    inSoftware: undefined,
    leaving: undefined,
  }
}

/** How many of those worth least are kept. */
const LEAST = 32

/** The flows in the hardware, and which of them are worth least. */
export class OffloadedFlows {
  readonly #flows = new Map<string, OffloadedFlow>()
  /** In ascending order of their rate when they were last looked at. */
  #least: OffloadedFlow[] = []
  #next: OffloadedFlow[] = []
  #leaving = 0

  get size(): number {
    return this.#flows.size
  }

  /** Those that stay, or are to come. */
  get staying(): number {
    return this.#flows.size - this.#leaving
  }

  get(id: string): OffloadedFlow | undefined {
    return this.#flows.get(id)
  }

  values(): Iterable<OffloadedFlow> {
    return this.#flows.values()
  }

  add(flow: OffloadedFlow): void {
    this.#flows.set(flow.rule.flow.id, flow)
  }

  /** Does nothing when another one has come in its place. */
  delete(flow: OffloadedFlow): void {
    const { id } = flow.rule.flow
    if (this.#flows.get(id) !== flow) return
    this.#flows.delete(id)
    if (flow.leaving !== undefined) this.#leaving -= 1
  }

  leave(flow: OffloadedFlow, reason: NonNullable<OffloadedFlow['leaving']>): void {
    if (flow.leaving === undefined && this.#flows.get(flow.rule.flow.id) === flow) this.#leaving += 1
    flow.leaving = reason
  }

  clear(): void {
    this.#flows.clear()
    this.#least = []
    this.#next = []
    this.#leaving = 0
  }

  /** A pass has found out the flow's rate. */
  ranked(flow: OffloadedFlow): void {
    const rate = flow.rate
    if (rate === undefined) return
    const next = this.#next
    if (next.length === LEAST && rate >= rateOf(next.at(-1))) return
    let index = next.length
    while (index > 0 && rateOf(next[index - 1]) > rate) index -= 1
    next.splice(index, 0, flow)
    if (next.length > LEAST) next.pop()
  }

  /** A pass is complete: those worth least are known. */
  rankingComplete(): void {
    this.#least = this.#next
    this.#next = []
  }

  /** The flow worth least of those that have been in the hardware since before `since`. */
  worthLeast(since: number): OffloadedFlow | undefined {
    const here = (flow: OffloadedFlow): boolean =>
      this.#flows.get(flow.rule.flow.id) === flow && flow.leaving === undefined
    return this.#least.find((flow) => here(flow) && flow.installed !== undefined && flow.installed <= since)
  }
}

function rateOf(flow: OffloadedFlow | undefined): number {
  return flow?.rate ?? 0
}
