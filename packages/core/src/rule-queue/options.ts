import type { FlowKey } from '../flow.ts'
import type { Clock, ErrorListener, RuleTable } from '../ports.ts'
import type { PutOutcome } from '../redirector.ts'

/** All in milliseconds but the first two. */
export interface RuleQueueLimits {
  /** How many insertions may wait. There are never more removals than there are rules. */
  readonly length: number
  /** How many commands the hardware is given at a time. One that works behind a lock needs no more than 1. */
  readonly concurrency: number
  /** How long an insertion may wait. Then it is dropped: what it was for may be over. */
  readonly insertion: number
  /** How long {@link RuleQueue.remove} waits for the proof. */
  readonly removal: number
  /** How long the hardware may take for a command. Then it counts as stalled until it answers. */
  readonly execution: number
  /** Between a removal that has failed and the next attempt: doubled each time up to `maximumRetry`. */
  readonly retry: number
  readonly maximumRetry: number
}

export const DEFAULT_RULE_QUEUE_LIMITS: RuleQueueLimits = {
  length: 1024,
  concurrency: 1,
  insertion: 500,
  removal: 500,
  execution: 1000,
  retry: 50,
  maximumRetry: 5000,
}

export interface RuleQueueOptions {
  /** What carries the commands out. Its calls must not block the process. */
  readonly hardware: RuleTable
  readonly clock: Clock
  readonly limits?: Partial<RuleQueueLimits>
  /** Told each time that it is proven that the hardware has no rule of the flow any more, or never got it. Must not throw. */
  readonly onAbsent?: (flow: FlowKey) => void
  /** Told of commands that the hardware has rejected. */
  readonly onError?: ErrorListener
}

/**
 * What has become of an insertion. `installed`: the hardware has taken it. `withdrawn`: a removal came after it. `replaced`: a newer
 * insertion of the same flow came before it was started. `expired`: it has waited for too long. `not-taken`: the queue is full or closed,
 * or the hardware is stalled. `refused`, `failed`: the hardware's answer; after `failed` the queue removes what may be there.
 */
export type InsertionResult =
  | { readonly result: 'installed'; readonly outcome: PutOutcome }
  | { readonly result: 'withdrawn' | 'replaced' | 'expired' | 'not-taken' }
  | { readonly result: 'refused' | 'failed'; readonly error: unknown }

export interface InsertionOptions {
  /** Of insertions that wait, the one with the largest worth goes first, and of equal ones the oldest. Default 0. */
  readonly worth?: number
  /** Withdraws the insertion, in whatever state it is, as {@link RuleQueue.remove} does. */
  readonly signal?: AbortSignal
}

export interface RemovalOptions {
  /** Milliseconds to wait for the proof, default {@link RuleQueueLimits.removal}. */
  readonly limit?: number
  /** Ends the waiting. The removal itself goes on. */
  readonly signal?: AbortSignal
}
