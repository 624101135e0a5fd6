import type { AbortMessage, CommitMessage, RefuseReason, TargetMessage } from '../protocol/messages.ts'

/** Why a handoff did not succeed. */
export type HandoffFailureReason =
  | 'busy'
  | 'lock-failed'
  | 'lock-timeout'
  | 'freeze-failed'
  | 'snapshot-failed'
  | 'channel-lost'
  | 'refused'
  | 'accept-timeout'
  | 'aborted'
  | 'client-gone'
  | 'steer-failed'
  | 'steer-timeout'
  | 'commit-timeout'
  | 'thaw-failed'
  | 'unlock-failed'

/** What went wrong, in words for programs and for people. */
export interface HandoffFailure {
  readonly reason: HandoffFailureReason
  readonly text: string
  /** With `refused`: the target's reason. */
  readonly refusal?: RefuseReason
}

/** The longest that each step may take, in milliseconds. */
export interface OriginLimits {
  /** Putting the hold rule, and making it silent. */
  readonly lock: number
  /** From the offer to the accept. */
  readonly accept: number
  /** Replacing hold by steer. */
  readonly steer: number
  /** From the first commit to `committed`; shorter than the target's `prepared`. */
  readonly commit: number
  /** Between two attempts to send a commit that the channel did not take. */
  readonly resend: number
  /** How long the frozen socket stays after `committed`. */
  readonly grace: number
  /** One attempt to remove a rule. */
  readonly unlock: number
  /** Between two attempts to remove a rule. */
  readonly retry: number
}

export const DEFAULT_ORIGIN_LIMITS: OriginLimits = {
  lock: 1000,
  accept: 2000,
  steer: 1000,
  commit: 5000,
  resend: 250,
  grace: 1000,
  unlock: 1000,
  retry: 100,
}

export type OriginTimer = keyof OriginLimits

/** How often the removal of a rule is tried before the handoff is given up. */
export const UNLOCK_ATTEMPTS = 3

/**
 * `locking`: hold is being put. `freezing`, `snapshotting`: the calls are being made. `silencing`: hold is being made silent, so that
 * nothing which the frozen socket says from here on reaches the client. `offering`: the target has the offer.
 * `steering`: hold is being replaced, the commit point. `committing`: the target has to say `committed`. `grace`: done, the frozen
 * socket is still there. `thawing`, `unlocking`: the way back, or out. `finished`: nothing is left.
 */
export type OriginPhase =
  | 'locking'
  | 'freezing'
  | 'snapshotting'
  | 'silencing'
  | 'offering'
  | 'steering'
  | 'committing'
  | 'grace'
  | 'thawing'
  | 'unlocking'
  | 'finished'

/** One handoff as its origin, which coordinates it, sees it. Immutable. */
export interface OriginState {
  readonly phase: OriginPhase
  readonly handoff: number
  readonly epoch: number
  readonly limits: OriginLimits
  /** Goes into the commit message. */
  readonly acknowledge: boolean
  /** The first thing that went wrong: set as soon as the handoff is to be undone. */
  readonly failure?: HandoffFailure
  /** The connection cannot go on at the origin. */
  readonly lost: boolean
  /** Attempts made to remove the rule. */
  readonly attempts: number
}

export type OriginEvent =
  | { readonly type: 'locked' | 'frozen' | 'silenced' | 'steered' | 'thawed' | 'unlocked' }
  | {
      readonly type:
        | 'lock-failed'
        | 'freeze-failed'
        | 'snapshot-failed'
        | 'silence-failed'
        | 'steer-failed'
        | 'thaw-failed'
        | 'unlock-failed'
      readonly text: string
    }
  | { readonly type: 'snapshot-taken'; readonly acknowledge: boolean }
  /** The last message could not be handed to the channel. */
  | { readonly type: 'send-failed'; readonly text: string }
  | { readonly type: 'message'; readonly message: TargetMessage }
  | { readonly type: 'channel-lost' | 'channel-up' }
  /** The caller wants it undone, or knows that the client has reset the connection. */
  | { readonly type: 'aborted' | 'client-gone'; readonly text: string }
  /** The connection has ended at the target: no reason to wait out the grace period. */
  | { readonly type: 'ended' }
  | { readonly type: 'timeout'; readonly timer: OriginTimer }

/** `complete` tells the caller; more effects may follow it later. `cancel` aborts a lock, silence or steer that is being carried out. */
export type OriginEffect =
  | {
      readonly type:
        | 'lock'
        | 'cancel'
        | 'freeze'
        | 'snapshot'
        | 'silence'
        | 'offer'
        | 'steer'
        | 'thaw'
        | 'unlock'
        | 'release'
        | 'reset'
    }
  | { readonly type: 'send'; readonly message: CommitMessage | AbortMessage }
  | { readonly type: 'start-timer'; readonly timer: OriginTimer; readonly milliseconds: number }
  | { readonly type: 'cancel-timer'; readonly timer: OriginTimer }
  | {
      readonly type: 'complete'
      readonly result: 'handed-off' | 'rolled-back' | 'lost'
      readonly failure?: HandoffFailure
    }

export interface OriginStep {
  readonly state: OriginState
  readonly effects: readonly OriginEffect[]
}

export interface OriginParameters {
  readonly handoff: number
  readonly epoch: number
  readonly limits: OriginLimits
}
