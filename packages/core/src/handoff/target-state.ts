import type { FromTargetMessage, HandoffReference, RefuseReason, ToTargetMessage } from '../protocol/messages.ts'
import type { Step } from './state-machine.ts'

/** The longest that each step may take, in milliseconds. */
export interface TargetLimits {
  /** Putting the hold rule. */
  readonly lock: number
  /** From the accept to the commit; longer than the coordinator's `commit`. */
  readonly prepared: number
  /** The application taking the connection. */
  readonly adopt: number
  /** One attempt to remove the rule. */
  readonly unlock: number
  /** Between two attempts to remove the rule. */
  readonly retry: number
}

/** What applies where nothing else is said. */
export const DEFAULT_TARGET_LIMITS: TargetLimits = {
  lock: 1000,
  prepared: 10_000,
  adopt: 4000,
  unlock: 1000,
  retry: 100,
}

/** The time limits by their names. */
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
export interface TargetState extends HandoffReference {
  readonly phase: TargetPhase
  readonly limits: TargetLimits
  /** The client is owed an acknowledgement: from the snapshot, or from the commit. */
  readonly acknowledge: boolean
  readonly restoreMicroseconds: number
  readonly adoptMicroseconds: number
  /** The coordinator has withdrawn the offer before the commit, or given the connection up after it. */
  readonly aborted: boolean
  readonly refusal?: Refusal
  /** Attempts made to remove the rule. */
  readonly attempts: number
}

/** What happens to a handoff at its target: answers to its effects, messages of the coordinator, and what comes from outside. */
export type TargetEvent =
  | { readonly type: 'valid'; readonly acknowledge: boolean }
  | { readonly type: 'invalid'; readonly reason: RefuseReason; readonly text: string }
  | { readonly type: 'locked' | 'unlocked' }
  | { readonly type: 'lock-failed' | 'restore-failed' | 'unlock-failed' | 'adopt-failed'; readonly text: string }
  | { readonly type: 'restored'; readonly restoreMicroseconds: number }
  | { readonly type: 'adopted'; readonly adoptMicroseconds: number }
  | { readonly type: 'message'; readonly message: ToTargetMessage }
  /** This host withdraws: it is closing, or the coordinator has made another offer for the flow. */
  | { readonly type: 'withdrawn' }
  | { readonly type: 'timeout'; readonly timer: TargetTimer }

/** What is to be done at the target. `cancel` aborts a lock that is being carried out. */
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

/** The state from here on, and what is to be done, in this order. */
export type TargetStep = Step<TargetState, TargetEffect>

/** What a handoff begins with. */
export interface TargetParameters extends HandoffReference {
  readonly limits: TargetLimits
}
