import { RedirectorError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type { Clock, ErrorListener } from '../ports.ts'
import type { FlowCounters, OperationOptions, Redirector, Rule, SteerRule } from '../redirector.ts'
import type { InsertionResult } from '../rule-queue/options.ts'
import { RuleQueue } from '../rule-queue/rule-queue.ts'
import { BackOff } from './back-off.ts'
import { type OffloadedFlow, OffloadedFlows, offloadedFlow } from './offloaded-flows.ts'
import type { DemotionReason, HybridPolicy, HybridRedirectorOptions } from './options.ts'
import { BoundedMap, sum } from './totals.ts'
import { within } from './within.ts'

/** Flows that the hardware is not to be asked for again so soon. */
const PENALTIES = 4096
/** Flows whose packets the hardware has counted for a while, and that are back in software. Older ones lose that part of their counters. */
const CARRIED = 65_536

/** Insertions whose failure says something about the hardware, and not about the flow or the queue. */
const FAILURES: readonly InsertionResult['result'][] = ['refused', 'failed']

/**
 * Moves the rules of flows into the hardware and out of it, in the background. Says for every flow whether the hardware may have its rule:
 * as long as that is so, the rule underneath must stay.
 */
export class Promoter {
  readonly queue: RuleQueue
  readonly flows = new OffloadedFlows()
  readonly demoted: Record<DemotionReason, number> = { idle: 0, displaced: 0, inert: 0, lost: 0 }
  promoted = 0
  hinted = 0
  passedOver = 0
  strays = 0
  readonly #hardware: Redirector
  readonly #clock: Clock
  readonly #policy: HybridPolicy
  readonly #backOff: BackOff
  readonly #penalties = new BoundedMap<number>(PENALTIES)
  readonly #carried = new BoundedMap<FlowCounters>(CARRIED)
  /** How many rules the hardware had when it said that it was full, and until when that is believed. */
  #room = { rules: 0, until: 0 }

  constructor({ hardware, clock, queue, onError }: HybridRedirectorOptions, policy: HybridPolicy) {
    this.#hardware = hardware
    this.#clock = clock
    this.#policy = policy
    this.#backOff = new BackOff(policy.backOff, policy.maximumBackOff)
    const tell: ErrorListener = (error, context) => onError?.(error, context)
    const onAbsent = (flow: FlowKey): void => this.#absent(flow)
    this.queue = new RuleQueue({ hardware, clock, onAbsent, onError: tell, ...(queue && { limits: queue }) })
  }

  /** Insertions that have failed one after another. */
  get failures(): number {
    return this.#backOff.failures
  }

  /** Whether the hardware could have this rule: it is in order, and the hardware knows such flows and targets. */
  suits(rule: Rule): rule is SteerRule {
    if (rule.action !== 'steer' || rule.ended || rule.returning) return false
    const { families, steerModes } = this.#hardware.manifest
    if (!families.includes(rule.flow.family) || !steerModes.includes(rule.target.mode)) return false
    return !this.queue.has(rule.flow) && !this.#isPenalised(rule.flow)
  }

  /**
   * Gives the rule to the hardware, if that is not too much for it. The rule must be the one that the software redirector has, and suit.
   *
   * @param worth bytes in a second
   * @param hinted it is not known from counting
   */
  promote(rule: SteerRule, worth: number, hinted = false): void {
    if (!this.#backOff.isOver(this.#clock.now()) || !this.#makeRoom(worth, hinted)) {
      this.passedOver += 1
      return
    }
    const offloaded = offloadedFlow(rule, this.#clock.now())
    this.flows.add(offloaded)
    void this.queue.put(rule, { worth }).then((result) => this.#answered(offloaded, result, hinted))
  }

  /** A rule that was in the hardware before, and is the same underneath. */
  adopt(rule: SteerRule, counters: FlowCounters): void {
    const now = this.#clock.now()
    this.flows.add({ ...offloadedFlow(rule, now), installed: now, counters })
    this.queue.adopt(rule.flow)
  }

  /** Takes the rule out of the hardware. The one underneath does the work from then on. */
  demote(offloaded: OffloadedFlow, reason: DemotionReason): void {
    if (offloaded.leaving !== undefined) return
    this.flows.leave(offloaded, reason)
    this.demoted[reason] += 1
    if (reason === 'inert') this.#penalise(offloaded.rule.flow)
    const { flow } = offloaded.rule
    const read = this.refresh(flow)
    // What comes in its place must not reach the hardware first: then the last packets may go uncounted.
    if (reason === 'displaced') this.queue.discard(flow)
    else void read.then(() => this.flows.get(flow.id) === offloaded && this.queue.discard(flow))
  }

  /** The hardware has a rule that nobody knows of. */
  removeStray(flow: FlowKey): void {
    this.strays += 1
    this.queue.adopt(flow, 'unknown')
    this.queue.discard(flow)
  }

  /**
   * Takes the flow's rule out of the hardware, since the one underneath is going to change. Resolves when it is proven that it is not there;
   * rejects as {@link RuleQueue.remove} does.
   */
  withdraw(flow: FlowKey, options: OperationOptions | undefined): Promise<void> {
    const offloaded = this.flows.get(flow.id)
    if (offloaded !== undefined) this.flows.leave(offloaded, 'changed')
    return this.queue.remove(flow, options)
  }

  /** The flow has another rule, or none: its counters begin again. */
  changed(flow: FlowKey): void {
    this.#carried.delete(flow.id)
  }

  /** What the hardware has counted of a flow, as far as it is known now. */
  counted(flow: FlowKey): FlowCounters | undefined {
    const carried = this.#carried.get(flow.id)
    const offloaded = this.flows.get(flow.id)
    if (offloaded === undefined) return carried
    return sum(offloaded.counters, carried)
  }

  /** Asks the hardware for its counters of the flow, if it has its rule; for a limited time. */
  async refresh(flow: FlowKey): Promise<void> {
    const offloaded = this.flows.get(flow.id)
    if (offloaded?.installed === undefined) return
    const counters = await within(this.#clock, this.#policy.counterLimit, this.#hardware.counters(flow))
    if (counters !== undefined) this.observe(offloaded, counters)
  }

  /** What the hardware says that it has counted. */
  observe(offloaded: OffloadedFlow, counters: FlowCounters): void {
    const { id } = offloaded.rule.flow
    // It has begun again.
    const isReset = counters.packets < offloaded.counters.packets && this.flows.get(id) === offloaded
    if (isReset) this.#carried.set(id, sum(offloaded.counters, this.#carried.get(id)))
    offloaded.counters = counters
  }

  #makeRoom(worth: number, hinted: boolean): boolean {
    const now = this.#clock.now()
    const { capacity } = this.#hardware.manifest
    if (this.flows.staying < (now < this.#room.until ? Math.min(this.#room.rules, capacity) : capacity)) return true
    const { hysteresis, minimumStay } = this.#policy
    const least = this.flows.worthLeast(now - minimumStay * 1000)
    // What is only expected is not comparable with what was counted.
    if (hinted || least?.rate === undefined || worth < hysteresis * Math.max(least.rate, 1)) return false
    this.demote(least, 'displaced')
    return true
  }

  #answered(offloaded: OffloadedFlow, result: InsertionResult, hinted: boolean): void {
    const { flow } = offloaded.rule
    const now = this.#clock.now()
    if (result.result === 'installed') {
      this.#backOff.succeeded()
      this.promoted += 1
      if (hinted) this.hinted += 1
      offloaded.installed = offloaded.asked = offloaded.quiet = now
      return
    }
    if (!this.queue.has(flow)) this.flows.delete(offloaded)
    if (!FAILURES.includes(result.result)) return
    this.#backOff.failed(now)
    const isFull = 'error' in result && result.error instanceof RedirectorError && result.error.reason === 'full'
    if (isFull) this.#room = { rules: this.flows.staying, until: now + this.#policy.penalty * 1000 }
    else this.#penalise(flow)
  }

  /** The hardware has no rule of the flow: it never got it, or does not have it any more. */
  #absent(flow: FlowKey): void {
    const offloaded = this.flows.get(flow.id)
    if (offloaded === undefined) return
    this.flows.delete(offloaded)
    if (offloaded.installed === undefined) return
    if (offloaded.counters.packets > 0n) this.#carried.set(flow.id, sum(offloaded.counters, this.#carried.get(flow.id)))
  }

  #penalise(flow: FlowKey): void {
    this.#penalties.set(flow.id, this.#clock.now() + this.#policy.penalty * 1000)
  }

  #isPenalised(flow: FlowKey): boolean {
    const until = this.#penalties.get(flow.id)
    if (until === undefined) return false
    if (until > this.#clock.now()) return true
    this.#penalties.delete(flow.id)
    return false
  }
}
