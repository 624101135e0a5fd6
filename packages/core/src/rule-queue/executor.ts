import { RedirectorError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type { TimerWheel } from '../handoff/timer-wheel.ts'
import type { Clock, RuleTable } from '../ports.ts'
import type { PutOutcome, Rule } from '../redirector.ts'
import type { RuleQueueCounters } from './statistics.ts'

/** Errors with which a redirector says that it has certainly not carried a command out. After any other one the rule may be there. */
const REFUSALS: readonly string[] = ['full', 'unsupported', 'invalid', 'permission']

export type InsertionAnswer =
  | { readonly event: 'inserted'; readonly outcome: PutOutcome }
  | { readonly event: 'insert-aborted' | 'insert-refused' | 'insert-failed'; readonly error: unknown }

export type RemovalAnswer = { readonly event: 'removed' } | { readonly event: 'remove-failed'; readonly error: unknown }

export interface ExecutorOptions {
  readonly hardware: RuleTable
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly counters: RuleQueueCounters
  /** Milliseconds that the hardware may take for a command. */
  readonly limit: number
}

/** Gives commands to the hardware, and says what its answers prove. */
export class CommandExecutor {
  readonly #options: ExecutorOptions
  readonly #idle: (() => void)[] = []
  #running = 0
  #stalled = 0

  constructor(options: ExecutorOptions) {
    this.#options = options
  }

  /** The commands that the hardware has not answered. */
  get running(): number {
    return this.#running
  }

  /** Those of them that have taken longer than they may. */
  get stalled(): number {
    return this.#stalled
  }

  /** `onStall`: it takes longer than it may. The answer comes nevertheless, as soon as the hardware has one. */
  async insert(rule: Rule, abort: AbortSignal, onStall: () => void): Promise<InsertionAnswer> {
    const { hardware, counters } = this.#options
    const started = this.#options.clock.now()
    try {
      const outcome = await this.#watch(() => hardware.put(rule, { signal: abort }), onStall)
      counters.inserted += 1
      counters.insertionTime.record(this.#options.clock.now() - started)
      return { event: 'inserted', outcome }
    } catch (error) {
      if (abort.aborted && error === abort.reason) return { event: 'insert-aborted', error }
      counters.failedInsertions += 1
      return { event: isRefusal(error) ? 'insert-refused' : 'insert-failed', error }
    }
  }

  async remove(flow: FlowKey, onStall: () => void): Promise<RemovalAnswer> {
    const { hardware, counters } = this.#options
    const started = this.#options.clock.now()
    try {
      // False says that there was none: that is proof as well.
      await this.#watch(() => hardware.remove(flow), onStall)
      counters.removed += 1
      counters.removalTime.record(this.#options.clock.now() - started)
      return { event: 'removed' }
    } catch (error) {
      counters.failedRemovals += 1
      return { event: 'remove-failed', error }
    }
  }

  /** Waits until the hardware has answered everything, for `limit` milliseconds at most. Returns whether it has. */
  async idle(limit: number): Promise<boolean> {
    if (this.#running === 0) return true
    const { wheel } = this.#options
    await new Promise<void>((resolve) => {
      const timer = wheel.start(limit, resolve)
      this.#idle.push(() => {
        wheel.cancel(timer)
        resolve()
      })
    })
    return this.#running === 0
  }

  async #watch<T>(command: () => Promise<T>, onStall: () => void): Promise<T> {
    const { wheel, counters, limit } = this.#options
    let late = false
    const timer = wheel.start(limit, () => {
      late = true
      this.#stalled += 1
      counters.stalls += 1
      onStall()
    })
    this.#running += 1
    try {
      return await command()
    } finally {
      wheel.cancel(timer)
      this.#running -= 1
      if (late) this.#stalled -= 1
      if (this.#running === 0) for (const done of this.#idle.splice(0)) done()
    }
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof RedirectorError && REFUSALS.includes(error.reason)
}
