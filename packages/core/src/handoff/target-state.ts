import type { FromTargetMessage, RefuseReason, ToTargetMessage } from '../protocol/messages.ts'

/** The longest that each step may take, in milliseconds. */
export interface TargetLimits {
  /** Putting the hold rule. */
  readonly lock: number
  /** From the accept to the commit; longer than the origin's `commit`. */
  readonly prepared: number
  /** The application taking the connection. */
  readonly adopt: number
  /** One attempt to remove the rule. */
  readonly unlock: number
  /** Between two attempts to remove the rule. */
  readonly retry: number
}

export const DEFAULT_TARGET_LIMITS: TargetLimits = {
  lock: 1000,
  prepared: 10_000,
  adopt: 4000,
  unlock: 1000,
  retry: 100,
}

export type TargetTimer = keyof TargetLimits

/**
 * `validating`, `locking`, `restoring`: on the way to `prepared`, where the restored connection waits for the commit.
 * `withdrawing`: not to be; the hold rule is being removed. `unlocking`: committed, the hold rule is being removed; `adopting`: the
 * application is taking the connection. Last phases, kept for a while to answer duplicates: `owned`, `revoked` (owned, and given up by
 * the coordinator), `failed` (after the commit), `refused`, `discarded`.
 */
export type TargetPhase =
  | 'validating'
  | 'locking'
  | 'restoring'
  | 'prepared'
  | 'withdrawing'
  | 'unlocking'
  | 'adopting'
  | 'owned'
  | 'revoked'
  | 'failed'
  | 'refused'
  | 'discarded'

/** Why the target said no. */
export interface Refusal {
  readonly reason: RefuseReason
  readonly text: string
}

/** One handoff as its target sees it. Immutable. */
export interface TargetState {
  readonly phase: TargetPhase
  readonly handoff: number
  readonly epoch: number
  readonly limits: TargetLimits
  /** The client is owed an acknowledgement: from the snapshot, or from the commit. */
  readonly acknowledge: boolean
  readonly restoreMicroseconds: number
  readonly adoptMicroseconds: number
  /** The origin has withdrawn the offer before it was prepared, or the coordinator has given the connection up after the commit. */
  readonly aborted: boolean
  readonly refusal?: Refusal
  /** Attempts made to remove the rule. */
  readonly attempts: number
}

export type TargetEvent =
  | { readonly type: 'valid'; readonly acknowledge: boolean }
  | { readonly type: 'invalid'; readonly reason: RefuseReason; readonly text: string }
  | { readonly type: 'locked' | 'unlocked' }
  | { readonly type: 'lock-failed' | 'restore-failed' | 'unlock-failed' | 'adopt-failed'; readonly text: string }
  | { readonly type: 'restored'; readonly restoreMicroseconds: number }
  | { readonly type: 'adopted'; readonly adoptMicroseconds: number }
  | { readonly type: 'message'; readonly message: ToTargetMessage }
  /** This host withdraws: it is closing, or the origin has made another offer for the flow. */
  | { readonly type: 'withdrawn' }
  | { readonly type: 'timeout'; readonly timer: TargetTimer }

export type TargetEffect =
  | {
      readonly type:
        | 'validate'
        | 'lock'
        | 'cancel'
        | 'restore'
        | 'unlock'
        | 'acknowledge'
        | 'adopt'
        | 'discard'
        | 'reset'
        /** Ask the application to close what it has. */
        | 'revoke'
    }
  | { readonly type: 'send'; readonly message: FromTargetMessage }
  | { readonly type: 'start-timer'; readonly timer: TargetTimer; readonly milliseconds: number }
  | { readonly type: 'cancel-timer'; readonly timer: TargetTimer }

export interface TargetStep {
  readonly state: TargetState
  readonly effects: readonly TargetEffect[]
}

export interface TargetParameters {
  readonly handoff: number
  readonly epoch: number
  readonly limits: TargetLimits
}
