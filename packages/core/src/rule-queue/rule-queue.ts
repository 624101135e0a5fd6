import { RedirectorError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import { TimerWheel } from '../handoff/timer-wheel.ts'
import type { Clock, ErrorListener } from '../ports.ts'
import type { Rule } from '../redirector.ts'
import { CommandExecutor } from './executor.ts'
import {
  type FlowCommandEffect,
  type FlowCommandEvent,
  isOver,
  nextCommand,
  stepFlowCommands,
} from './flow-commands.ts'
import {
  DEFAULT_RULE_QUEUE_LIMITS,
  type InsertionOptions,
  type InsertionResult,
  type RemovalOptions,
  type RuleQueueLimits,
  type RuleQueueOptions,
} from './options.ts'
import { bestInsertion, type Insertion, QueuedFlow } from './queued-flow.ts'
import { RuleQueueCounters, type RuleQueueStatistics } from './statistics.ts'

/** The longest that the wheel makes a time limit late, in milliseconds. */
const TICK = 2
const SLOTS = 2048

/**
 * Puts rules into slow hardware and takes them out again, in an order that is decided here and not by the kernel's lock: removals before
 * insertions, those that somebody waits for before others, and of insertions those with the largest worth. The hardware is given one
 * command at a time, so a command that nobody needs any more is cancelled in every state, and costs nothing as long as it waits.
 *
 * A flow is forgotten only when it is proven that the hardware has no rule of it; `FlowCommands` says what proves that. A removal that
 * fails is tried again until it is carried out.
 */
export class RuleQueue {
  readonly #clock: Clock
  readonly #limits: RuleQueueLimits
  readonly #onAbsent: (flow: FlowKey) => void
  readonly #onError: ErrorListener
  readonly #wheel: TimerWheel
  readonly #counters = new RuleQueueCounters()
  readonly #executor: CommandExecutor
  readonly #flows = new Map<string, QueuedFlow>()
  readonly #insertions = new Set<QueuedFlow>()
  /** Removals that somebody waits for, and the others. */
  readonly #urgent = new Set<QueuedFlow>()
  readonly #removals = new Set<QueuedFlow>()
  #closed = false

  constructor({ hardware, clock, limits, onAbsent = () => {}, onError = () => {} }: RuleQueueOptions) {
    this.#clock = clock
    this.#limits = { ...DEFAULT_RULE_QUEUE_LIMITS, ...limits }
    this.#onAbsent = onAbsent
    this.#onError = onError
    this.#wheel = new TimerWheel(clock, TICK, SLOTS)
    const parts = { hardware, clock, wheel: this.#wheel, counters: this.#counters, limit: this.#limits.execution }
    this.#executor = new CommandExecutor(parts)
  }

  /** Whether the hardware has a rule of the flow, may have one, or is to get one. */
  has(flow: FlowKey): boolean {
    return this.#flows.has(flow.id)
  }

  /** The number of flows that {@link has} is true for. */
  get size(): number {
    return this.#flows.size
  }

  /** Whether the hardware has taken longer for a command than it may, and has not answered yet. */
  get stalled(): boolean {
    return this.#executor.stalled > 0
  }

  /** Notes that a rule of the flow was found in the hardware; `unknown`: that there may be one. */
  adopt(flow: FlowKey, hardware: 'present' | 'unknown' = 'present'): void {
    const queued = this.#queued(flow)
    if (isOver(queued.state)) queued.state = { ...queued.state, hardware }
  }

  /**
   * Queues the insertion of a rule, or its replacement. Never rejects. The rule underneath must say the same as this one from now on
   * until {@link remove} has resolved.
   */
  put(rule: Rule, { worth = 0, signal }: InsertionOptions = {}): Promise<InsertionResult> {
    if (signal?.aborted) return Promise.resolve({ result: 'withdrawn' })
    const replaces = this.#flows.get(rule.flow.id)?.insertion !== undefined
    if (this.#closed || this.stalled || (!replaces && this.#insertions.size >= this.#limits.length)) {
      this.#counters.refused += 1
      return Promise.resolve({ result: 'not-taken' })
    }
    return new Promise((resolve) => {
      const queued = this.#queued(rule.flow)
      const earlier = queued.insertion
      const insertion: Insertion = { rule, worth, since: this.#clock.now(), resolve }
      insertion.expiry = this.#wheel.start(this.#limits.insertion, () => this.#dispatch(queued, 'expired'))
      if (signal !== undefined) this.#heed(signal, queued, insertion)
      queued.insertion = insertion
      this.#dispatch(queued, 'put')
      if (earlier !== undefined) this.#settle(earlier, { result: 'replaced' })
      this.#pump()
    })
  }

  /**
   * Withdraws the flow's insertion and removes its rule, in whatever state they are. Resolves when it is proven that the hardware has no
   * rule of the flow: at once when it never got one.
   *
   * Rejects with {@link RedirectorError} `busy` when that takes too long, `gone` when the queue is closed, and with the signal's reason. The
   * rule may then still be in force, so what lies underneath must stay as it is. The removal goes on in any case.
   */
  remove(flow: FlowKey, { limit = this.#limits.removal, signal }: RemovalOptions = {}): Promise<void> {
    const queued = this.#flows.get(flow.id)
    if (queued === undefined) return Promise.resolve()
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#closed) return Promise.reject(closed())
    const proof = queued.awaitAbsence(this.#wheel, limit, signal, () => {
      this.#counters.unproven += 1
    })
    // Now that somebody waits it goes before those that nobody waits for, and at once.
    if (this.#removals.delete(queued)) this.#urgent.add(queued)
    if (queued.retry !== undefined) this.#retryNow(queued)
    this.#dispatch(queued, 'remove')
    this.#pump()
    return proof
  }

  /** As {@link remove}, but nobody waits for it, and other removals go first. `onAbsent` tells when it is done. */
  discard(flow: FlowKey): void {
    const queued = this.#flows.get(flow.id)
    if (queued === undefined || this.#closed) return
    this.#dispatch(queued, 'remove')
    this.#pump()
  }

  statistics(): RuleQueueStatistics {
    return this.#counters.with({
      waitingInsertions: this.#insertions.size,
      waitingRemovals: this.#urgent.size + this.#removals.size,
      flows: this.#flows.size,
      stalled: this.stalled,
    })
  }

  /**
   * Drops what waits, aborts what runs, and waits until the hardware has answered, for `limit` milliseconds at most; returns whether it
   * has. What is installed stays there.
   */
  async close(limit = this.#limits.execution): Promise<boolean> {
    this.#closed = true
    for (const queued of [...this.#insertions]) this.#dispatch(queued, 'expired')
    for (const queued of this.#flows.values()) {
      queued.running?.abort.abort(closed())
      if (queued.retry !== undefined) this.#wheel.cancel(queued.retry)
      for (const waiter of [...queued.waiters]) waiter.reject(closed())
    }
    this.#urgent.clear()
    this.#removals.clear()
    return this.#executor.idle(limit)
  }

  #queued(flow: FlowKey): QueuedFlow {
    const queued = this.#flows.get(flow.id) ?? new QueuedFlow(flow)
    this.#flows.set(flow.id, queued)
    return queued
  }

  #dispatch(queued: QueuedFlow, event: FlowCommandEvent): void {
    const { state, effects } = stepFlowCommands(queued.state, event)
    queued.state = state
    for (const effect of effects) this.#apply(queued, effect)
    const waiting = this.#insertions.size + this.#urgent.size + this.#removals.size
    this.#counters.longest = Math.max(this.#counters.longest, waiting)
    // What the machine has forgotten; a callback may have begun something new meanwhile.
    if (isOver(queued.state) && this.#flows.get(queued.flow.id) === queued) this.#flows.delete(queued.flow.id)
  }

  #apply(queued: QueuedFlow, effect: FlowCommandEffect): void {
    switch (effect.type) {
      case 'wait-insert':
        this.#insertions.add(queued)
        if (effect.replaced) this.#counters.replaced += 1
        break
      case 'drop-insert':
        this.#drop(queued, effect.why)
        break
      case 'abort-insert':
        queued.running?.abort.abort(new RedirectorError('busy', `the rule of ${queued.flow} is not wanted any more`))
        break
      case 'withdrawn':
        this.#counters.cancelled[effect.state] += 1
        break
      case 'wait-remove':
        this.#awaitRemoval(queued, effect.retry)
        break
      case 'absent':
        this.#absent(queued)
        break
    }
  }

  #drop(queued: QueuedFlow, why: 'withdrawn' | 'expired'): void {
    const { insertion } = queued
    this.#insertions.delete(queued)
    queued.insertion = undefined
    if (why === 'expired' && !this.#closed) this.#counters.expired += 1
    if (insertion !== undefined) this.#settle(insertion, { result: this.#closed ? 'withdrawn' : why })
  }

  #settle(insertion: Insertion, result: InsertionResult): void {
    if (insertion.expiry !== undefined) this.#wheel.cancel(insertion.expiry)
    insertion.ignoreSignal?.()
    insertion.resolve(result)
  }

  #heed(signal: AbortSignal, queued: QueuedFlow, insertion: Insertion): void {
    const withdraw = (): void => {
      this.#dispatch(queued, 'remove')
      this.#pump()
    }
    signal.addEventListener('abort', withdraw, { once: true })
    insertion.ignoreSignal = () => signal.removeEventListener('abort', withdraw)
  }

  #awaitRemoval(queued: QueuedFlow, retry: boolean): void {
    queued.removalSince = this.#clock.now()
    if (this.#closed) return
    if (!retry) {
      this.#enlist(queued)
      return
    }
    const { retry: first, maximumRetry } = this.#limits
    const delay = Math.min(first * 2 ** (queued.failures - 1), maximumRetry)
    queued.retry = this.#wheel.start(delay, () => {
      this.#retryNow(queued)
      this.#pump()
    })
  }

  #retryNow(queued: QueuedFlow): void {
    if (queued.retry !== undefined) this.#wheel.cancel(queued.retry)
    queued.retry = undefined
    this.#enlist(queued)
  }

  #enlist(queued: QueuedFlow): void {
    ;(queued.waiters.size > 0 ? this.#urgent : this.#removals).add(queued)
  }

  #absent(queued: QueuedFlow): void {
    queued.failures = 0
    queued.error = undefined
    for (const waiter of [...queued.waiters]) waiter.resolve()
    this.#onAbsent(queued.flow)
  }

  #pump(): void {
    while (!this.#closed && this.#executor.running < this.#limits.concurrency) {
      const next = this.#urgent.values().next().value ?? this.#removals.values().next().value
      if (next !== undefined) void this.#remove(next)
      else {
        const best = bestInsertion(this.#insertions, ({ state }) => nextCommand(state) === 'insert')
        if (best === undefined) return
        void this.#insert(best)
      }
    }
  }

  async #insert(queued: QueuedFlow): Promise<void> {
    const insertion = queued.insertion as Insertion
    const abort = new AbortController()
    this.#insertions.delete(queued)
    queued.insertion = undefined
    queued.running = { insertion, abort }
    if (insertion.expiry !== undefined) this.#wheel.cancel(insertion.expiry)
    this.#counters.insertionWait.record(this.#clock.now() - insertion.since)
    this.#dispatch(queued, 'insert-started')
    const answer = await this.#executor.insert(insertion.rule, abort.signal, () => this.#dispatch(queued, 'remove'))
    queued.running = undefined
    const withdrawn = queued.state.remove
    this.#dispatch(queued, answer.event)
    if (answer.event === 'inserted') {
      this.#settle(insertion, withdrawn ? { result: 'withdrawn' } : { result: 'installed', outcome: answer.outcome })
    } else if (answer.event === 'insert-aborted') this.#settle(insertion, { result: 'withdrawn' })
    else {
      this.#onError(answer.error, { flow: queued.flow, step: 'insert' })
      const result = answer.event === 'insert-refused' ? 'refused' : 'failed'
      this.#settle(insertion, { result, error: answer.error })
    }
    this.#pump()
  }

  async #remove(queued: QueuedFlow): Promise<void> {
    this.#urgent.delete(queued)
    this.#removals.delete(queued)
    this.#counters.removalWait.record(this.#clock.now() - queued.removalSince)
    this.#dispatch(queued, 'remove-started')
    const answer = await this.#executor.remove(queued.flow, () => {})
    if (answer.event === 'remove-failed') {
      queued.failures += 1
      queued.error = answer.error
      this.#onError(answer.error, { flow: queued.flow, step: 'remove' })
    }
    this.#dispatch(queued, answer.event)
    this.#pump()
  }
}

function closed(): RedirectorError {
  return new RedirectorError('gone', 'the rule queue is closed')
}
