import { RedirectorError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type {
  FlowCounters,
  ListedRule,
  OperationOptions,
  PutOutcome,
  Redirector,
  RedirectorManifest,
  Rule,
} from '../redirector.ts'
import { adoptHardwareRules } from './adopt.ts'
import { FlowOrder } from './flow-order.ts'
import {
  DEFAULT_HYBRID_POLICY,
  type HybridPolicy,
  type HybridRedirectorOptions,
  type HybridStatistics,
} from './options.ts'
import { Promoter } from './promoter.ts'
import { Scan } from './scan.ts'
import { sum } from './totals.ts'
import { Watch } from './watch.ts'

/** Everything that exists while the redirector is open. */
interface Opened {
  readonly promoter: Promoter
  readonly scan: Scan
  readonly watch: Watch
  /** Stops the timer. */
  stop: () => void
}

/**
 * Two redirectors of one device as one. Software takes every flow at once, and holds; hardware gets, in the background, the flows that are
 * worth it. The software rule stays underneath as long as there is one in hardware, so that one may be lost, refused or late at any time.
 *
 * That is right because of one rule: **whenever the hardware may have a rule of a flow, the software redirector has the same one.**
 *
 * - Into the hardware goes only what the software redirector has at that moment. Whoever decides that (a caller's `put`, or the
 *   scan) does so and tells the queue without an `await` in between; from then on the queue has the flow.
 * - `put` and `remove` of a flow that the queue has first wait until it is proven that the hardware has no rule of it any more; only then do
 *   they change the software rule, in its one atomic step. Meanwhile all packets go to the old target: in hardware, then in software. So hold is
 *   never put underneath a hardware rule that goes on steering (invariant 2), and nothing is removed before it is alone (invariant 7).
 *   While such an operation is at work nothing of its flow goes into the hardware: {@link FlowOrder} has it.
 * - When the proof does not come in time, the operation rejects with a {@link RedirectorError} `busy`, and the flow is steered as before, in
 *   both. The removal goes on; the caller may try again, or leave the connection where it is.
 * - The process may die at any moment: the rule holds for what is left, and `open` checks it.
 *
 * Hardware that refuses, is full, stalls or loses its rules makes no operation fail but those that wait for it as above.
 */
export class HybridRedirector implements Redirector {
  readonly #options: HybridRedirectorOptions
  readonly #policy: HybridPolicy
  readonly #order = new FlowOrder()
  #opened: Opened | undefined
  #opening = false

  constructor(options: HybridRedirectorOptions) {
    this.#options = options
    this.#policy = { ...DEFAULT_HYBRID_POLICY, ...options.policy }
  }

  /** That of the software redirector, which takes every rule, except that packets are counted only when both count them. */
  get manifest(): RedirectorManifest {
    const { software, hardware } = this.#options
    const observable = software.manifest.observable && hardware.manifest.observable
    return { ...software.manifest, name: `${software.manifest.name}+${hardware.manifest.name}`, observable }
  }

  /**
   * Opens both. Rules in hardware without the same rule in software are removed; if that is not possible within a few seconds, or if one of
   * the two cannot be opened, this rejects, and both are as before.
   */
  async open({ signal }: OperationOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const { software } = this.#options
    if (this.#opened !== undefined || this.#opening)
      throw new RedirectorError('busy', `${this.manifest.name} is open already`)
    this.#opening = true
    try {
      await software.open({ ...(signal && { signal }) })
      await this.#openHardware(signal).catch(async (error: unknown) => {
        await software.release()
        throw error
      })
    } finally {
      this.#opening = false
    }
  }

  /** Removes all rules: those of the hardware first. */
  async close(): Promise<void> {
    await this.#stop('close')
  }

  async release(): Promise<void> {
    await this.#stop('release')
  }

  /** Waits for the hardware if that may have the flow's rule: see above. Otherwise it is the software redirector's `put`. */
  async put(given: Rule, options?: OperationOptions): Promise<PutOutcome> {
    // The caller may use its object again.
    const rule = { ...given }
    const { flow } = rule
    const turn = this.#order.enter(flow)
    if (turn !== undefined) await turn
    try {
      const { promoter } = this.#begin(flow, options)
      if (promoter.queue.has(flow)) await promoter.withdraw(flow, options)
      const outcome = await this.#options.software.put(rule, options)
      promoter.changed(flow)
      const expected = rule.action === 'steer' ? (rule.expectedBytes ?? 0) : 0
      if (expected >= this.#policy.expectedBytes && promoter.suits(rule)) promoter.promote(rule, expected, true)
      return outcome
    } finally {
      this.#end(flow)
    }
  }

  /** Waits as {@link put} does. */
  async remove(flow: FlowKey, options?: OperationOptions): Promise<boolean> {
    const turn = this.#order.enter(flow)
    if (turn !== undefined) await turn
    try {
      const { promoter } = this.#begin(flow, options)
      if (promoter.queue.has(flow)) await promoter.withdraw(flow, options)
      const removed = await this.#options.software.remove(flow, options)
      promoter.changed(flow)
      return removed
    } finally {
      this.#end(flow)
    }
  }

  /** What both have counted. When the hardware does not say so at once, what it said last. */
  async counters(flow: FlowKey, options?: OperationOptions): Promise<FlowCounters | undefined> {
    const { promoter } = this.#open()
    const counters = await this.#options.software.counters(flow, options)
    if (counters === undefined) return undefined
    if (promoter.flows.get(flow.id) !== undefined) await promoter.refresh(flow)
    return sum(counters, promoter.counted(flow))
  }

  /** The rules of the software redirector, which are all; with what the hardware had counted when it was last asked. */
  async *list(options?: OperationOptions): AsyncGenerator<ListedRule, void, undefined> {
    this.#open()
    for await (const listed of this.#options.software.list(options)) {
      const inHardware = this.#open().promoter.counted(listed.rule.flow)
      yield inHardware === undefined ? listed : { ...listed, counters: sum(listed.counters, inHardware) }
    }
  }

  /** Throws {@link RedirectorError} when it is not open. */
  statistics(): HybridStatistics {
    const { promoter, scan } = this.#open()
    const { promoted, hinted, demoted, strays, passedOver, failures, flows, queue } = promoter
    return {
      offloaded: flows.size,
      ...{ promoted, hinted, strays, passedOver, failures },
      demoted: { ...demoted },
      candidates: scan.candidates,
      scans: scan.passes,
      scanTime: scan.duration,
      queue: queue.statistics(),
    }
  }

  /** It is this operation's turn. Nothing that was known of the flow holds any more. */
  #begin(flow: FlowKey, options: OperationOptions | undefined): Opened {
    options?.signal?.throwIfAborted()
    const opened = this.#open()
    opened.scan.changing(flow)
    return opened
  }

  #end(flow: FlowKey): void {
    this.#opened?.scan.changed(flow)
    this.#order.leave(flow)
  }

  async #openHardware(signal: AbortSignal | undefined): Promise<void> {
    const { software, hardware } = this.#options
    await hardware.open({ ...(signal && { signal }) })
    const promoter = new Promoter(this.#options, this.#policy)
    try {
      await adoptHardwareRules(software, hardware, promoter, signal)
    } catch (error) {
      await promoter.queue.close()
      await hardware.release()
      throw error
    }
    this.#opened = this.#start(promoter)
  }

  #start(promoter: Promoter): Opened {
    const { software, hardware, clock, onError } = this.#options
    const policy = this.#policy
    const suits = (rule: Rule) => promoter.suits(rule)
    const scan = new Scan({
      ...{ software, clock, policy, order: this.#order },
      suits: suits as Promoter['suits'],
      promote: (rule, worth) => promoter.promote(rule, worth),
    })
    const watch = new Watch({ software, hardware, clock, policy, promoter })
    const opened: Opened = { promoter, scan, watch, stop: () => {} }
    const failed = (step: string, error: unknown): void => {
      // What was under way when it was closed, or released, is of no interest any more.
      if (this.#opened === opened) onError?.(error, { step })
    }
    const tick = (): void => {
      opened.stop = clock.after(policy.tick, tick)
      scan.step().catch((error: unknown) => failed('scan', error))
      watch.step().catch((error: unknown) => failed('watch', error))
    }
    opened.stop = clock.after(policy.tick, tick)
    return opened
  }

  async #stop(how: 'close' | 'release'): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    this.#opened = undefined
    opened.stop()
    opened.scan.stop()
    opened.watch.stop()
    await opened.promoter.queue.close()
    const { software, hardware } = this.#options
    try {
      await hardware[how]()
    } finally {
      await software[how]()
    }
  }

  #open(): Opened {
    if (this.#opened !== undefined) return this.#opened
    throw new RedirectorError('gone', `${this.manifest.name} is not open`)
  }
}
