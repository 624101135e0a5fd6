import type { Clock } from '../ports.ts'
import type { ListedRule, Redirector } from '../redirector.ts'
import type { OffloadedFlow } from './offloaded-flows.ts'
import type { HybridPolicy } from './options.ts'
import { PacedPass } from './paced-pass.ts'
import type { Promoter } from './promoter.ts'

export interface WatchOptions {
  readonly software: Redirector
  readonly hardware: Redirector
  readonly clock: Clock
  readonly policy: HybridPolicy
  readonly promoter: Promoter
}

/**
 * Compares what the hardware has with what it should have, and what it counts with what it has counted before: so flows are found that
 * are idle or worth least, rules that do nothing, rules that the hardware has lost, and rules that nobody knows of.
 */
export class Watch {
  readonly #options: WatchOptions
  readonly #pass: PacedPass
  #number = 0
  #began = 0

  constructor(options: WatchOptions) {
    this.#options = options
    const { hardware, clock, policy } = options
    this.#pass = new PacedPass({
      clock,
      list: () => hardware.list(),
      limit: policy.rulesPerTick,
      pause: policy.watchPause,
      begin: () => {
        this.#number += 1
        this.#began = clock.now()
      },
      each: (listed) => this.#look(listed),
      end: () => this.#end(),
    })
  }

  step(): Promise<void> {
    return this.#pass.step()
  }

  stop(): void {
    this.#pass.stop()
  }

  #look({ rule, counters }: ListedRule): void {
    const { clock, policy, promoter } = this.#options
    const offloaded = promoter.flows.get(rule.flow.id)
    if (offloaded === undefined) {
      // What the queue knows of is on its way, in or out.
      if (!promoter.queue.has(rule.flow)) promoter.removeStray(rule.flow)
      return
    }
    offloaded.pass = this.#number
    if (offloaded.installed === undefined || offloaded.leaving !== undefined) return
    const now = clock.now()
    const bytes = Number(counters.bytes - offloaded.counters.bytes)
    if (counters.packets !== offloaded.counters.packets) offloaded.quiet = now
    if (now > offloaded.asked) offloaded.rate = (Math.max(bytes, 0) / (now - offloaded.asked)) * 1e6
    offloaded.asked = now
    promoter.observe(offloaded, counters)
    promoter.flows.ranked(offloaded)
    const quiet = now - offloaded.quiet
    if (quiet >= policy.idle * 500) void this.#suspect(offloaded, quiet >= policy.idle * 1000)
  }

  /** The hardware has seen no packet of the flow for a while. Has anybody? */
  async #suspect(offloaded: OffloadedFlow, demote: boolean): Promise<void> {
    const { software, promoter } = this.#options
    const { flow } = offloaded.rule
    // A redirector that cannot say counts nothing.
    const packets = (await software.counters(flow).catch(() => undefined))?.packets ?? 0n
    if (promoter.flows.get(flow.id) !== offloaded) return
    const before = offloaded.inSoftware
    offloaded.inSoftware ??= packets
    if (demote && before !== undefined) promoter.demote(offloaded, packets > before ? 'inert' : 'idle')
  }

  #end(): void {
    const { promoter } = this.#options
    promoter.flows.rankingComplete()
    for (const offloaded of promoter.flows.values()) {
      const expected = offloaded.installed !== undefined && offloaded.installed < this.#began
      if (expected && offloaded.pass !== this.#number) promoter.demote(offloaded, 'lost')
    }
  }
}
