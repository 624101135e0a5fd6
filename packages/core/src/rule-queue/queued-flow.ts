import { RedirectorError } from '../errors.ts'
import type { FlowKey } from '../flow.ts'
import type { TimerWheel, WheelTimer } from '../handoff/timer-wheel.ts'
import type { Rule } from '../redirector.ts'
import { type FlowCommands, NO_COMMANDS } from './flow-commands.ts'
import type { InsertionResult } from './options.ts'

/** An insertion that waits or runs. */
export interface Insertion {
  readonly rule: Rule
  readonly worth: number
  /** When it was asked for, in microseconds. */
  readonly since: number
  readonly resolve: (result: InsertionResult) => void
  /** Until it is dropped. */
  expiry?: WheelTimer
  /** Stops listening to the caller's signal. */
  ignoreSignal?: () => void
}

/** Somebody who waits for the proof that the hardware has no rule of the flow. */
export interface RemovalWaiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** What the queue keeps of one flow. */
export class QueuedFlow {
  readonly flow: FlowKey
  state: FlowCommands = NO_COMMANDS
  /** The insertion that waits. */
  insertion: Insertion | undefined
  /** The insertion that runs, and how to abort it. */
  running: { readonly insertion: Insertion; readonly abort: AbortController } | undefined
  /** Since when a removal waits, in microseconds. */
  removalSince = 0
  readonly waiters = new Set<RemovalWaiter>()
  /** Removals that have failed one after another, and the last error. */
  failures = 0
  error: unknown
  /** Until the next attempt to remove. */
  retry: WheelTimer | undefined

  constructor(flow: FlowKey) {
    this.flow = flow
  }

  /**
   * Waits for the proof that the hardware has no rule. Rejects with `busy` after `limit` milliseconds, which `onLate` is told of first, and
   * with the signal's reason.
   */
  awaitAbsence(wheel: TimerWheel, limit: number, signal: AbortSignal | undefined, onLate: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        wheel.cancel(timer)
        signal?.removeEventListener('abort', onAbort)
        this.waiters.delete(waiter)
        settle()
      }
      const waiter: RemovalWaiter = {
        resolve: () => end(resolve),
        reject: (error) => end(() => reject(error)),
      }
      const timer = wheel.start(limit, () => {
        onLate()
        waiter.reject(this.#unproven(limit))
      })
      const onAbort = (): void => waiter.reject(signal?.reason)
      signal?.addEventListener('abort', onAbort)
      this.waiters.add(waiter)
    })
  }

  #unproven(limit: number): RedirectorError {
    const message = `it is not proven after ${limit} ms that the hardware has no rule of ${this.flow}; try again`
    return new RedirectorError('busy', message, { cause: this.error })
  }
}

/**
 * Of the insertions that may be started, the one with the largest worth; of equal ones the oldest. There are so few that looking at
 * each takes less than the hardware takes for any.
 */
export function bestInsertion(
  waiting: Iterable<QueuedFlow>,
  isReady: (flow: QueuedFlow) => boolean,
): QueuedFlow | undefined {
  let best: QueuedFlow | undefined
  for (const candidate of waiting) {
    if (!isReady(candidate)) continue
    if (best === undefined || (candidate.insertion?.worth ?? 0) > (best.insertion?.worth ?? 0)) best = candidate
  }
  return best
}
