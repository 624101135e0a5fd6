import type {
  AbortMessage,
  CommitMessage,
  FromTargetMessage,
  HandoffReference,
  RefuseReason,
} from '../protocol/messages.ts'
import type { Step } from './state-machine.ts'

/** Why a handoff did not succeed. */
export type HandoffFailureReason =
  | 'busy'
  | 'lock-failed'
  | 'lock-timeout'
  | 'take-refused'
  | 'take-timeout'
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
  | 'target-lost'
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
export interface CoordinatorLimits {
  /** Putting the hold rule, and making it silent. */
  readonly lock: number
  /** From asking the server that has the connection until it has offered it. */
  readonly take: number
  /** From the offer to the accept. */
  readonly accept: number
  /** Replacing hold by steer. */
  readonly steer: number
  /** From the commit to `committed`; begins again when the channel returns, {@link COMMIT_ATTEMPTS} times at most. */
  readonly commit: number
  /** Between two attempts to send a commit that the channel did not take. */
  readonly resend: number
  /** How long the frozen socket stays after `committed`. */
  readonly grace: number
  /** One attempt to remove a rule, or to make it no longer silent. */
  readonly unlock: number
  /** Between two such attempts. */
  readonly retry: number
}

/** What applies where nothing else is said. */
export const DEFAULT_COORDINATOR_LIMITS: CoordinatorLimits = {
  lock: 1000,
  take: 2000,
  accept: 2000,
  steer: 1000,
  commit: 5000,
  resend: 250,
  grace: 1000,
  unlock: 1000,
  retry: 100,
}

/** The time limits by their names. */
export type CoordinatorTimer = keyof CoordinatorLimits

/** How often each step of bringing a rule back is tried before the handoff is given up. */
export const UNLOCK_ATTEMPTS = 3

/** How often the time limit of the commit begins again while the channel to the target comes and goes. */
export const COMMIT_ATTEMPTS = 6

/**
 * `locking`: hold is being put. `taking`: the server that has the connection was asked to freeze and offer it. `freezing`, `snapshotting`: the calls are being made. `silencing`: hold is being made silent, so that
 * nothing which the frozen socket says from here on reaches the client. `offering`: the target has the offer.
 * `steering`: hold is being replaced, the commit point. `committing`: the target has to say `committed`. `grace`: done, the frozen
 * socket is still there. `unsilencing`: the lock is made one behind which nothing is committed. `thawing`, `unlocking`: the way back, or out. `finished`: nothing is left.
 */
export type CoordinatorPhase =
  | 'locking'
  | 'taking'
  | 'freezing'
  | 'snapshotting'
  | 'silencing'
  | 'offering'
  | 'steering'
  | 'committing'
  | 'grace'
  | 'unsilencing'
  | 'thawing'
  | 'unlocking'
  | 'finished'

/** One handoff as the gateway, which coordinates it, sees it. Immutable. */
export interface CoordinatorState extends HandoffReference {
  readonly phase: CoordinatorPhase
  readonly limits: CoordinatorLimits
  /** The connection is at a server, which freezes and thaws it; else it is here. */
  readonly remote: boolean
  /** Goes into the commit message. */
  readonly acknowledge: boolean
  /** The first thing that went wrong: set as soon as the handoff is to be undone. */
  readonly failure?: HandoffFailure
  /** The connection cannot go on at the origin. */
  readonly lost: boolean
  /** Attempts made of the step that brings the rule back. */
  readonly attempts: number
  /** Whether the channel to the target was lost and has not returned, and how often the commit's time limit has begun. */
  readonly disconnected: boolean
  readonly commits: number
}

/** What happens to a handoff at its coordinator: answers to its effects, messages, and what comes from outside. */
export type CoordinatorEvent =
  | { readonly type: 'locked' | 'frozen' | 'silenced' | 'steered' | 'unsilenced' | 'thawed' | 'unlocked' }
  | {
      readonly type:
        | 'lock-failed'
        | 'freeze-failed'
        | 'snapshot-failed'
        | 'silence-failed'
        | 'steer-failed'
        | 'unsilence-failed'
        | 'thaw-failed'
        | 'unlock-failed'
      readonly text: string
    }
  | { readonly type: 'snapshot-taken' | 'offered'; readonly acknowledge: boolean }
  /** The server that has the connection cannot give it, or has not been reached: it goes on there. */
  | { readonly type: 'take-refused' | 'take-failed'; readonly text: string }
  /** The last message could not be handed to the channel. */
  | { readonly type: 'send-failed'; readonly text: string }
  | { readonly type: 'message'; readonly message: FromTargetMessage }
  /** Of the channel to the target. */
  | { readonly type: 'channel-lost' | 'channel-up' }
  /** Of the channel to the server that has the connection. */
  | { readonly type: 'origin-lost' }
  /** The target's process is another one than before, or the target was given up: what it had is gone. */
  | { readonly type: 'target-lost'; readonly text: string }
  /** The caller wants it undone, or knows that the client has reset the connection. */
  | { readonly type: 'aborted' | 'client-gone'; readonly text: string }
  /** The connection has ended at the target: no reason to wait out the grace period. */
  | { readonly type: 'ended' }
  | { readonly type: 'timeout'; readonly timer: CoordinatorTimer }

/**
 * `complete` tells the caller; more effects may follow it later. `cancel` aborts a lock, silence or steer that is being carried out.
 * Of a connection at a server: `take` asks for it, `thaw`, `release` and `reset` are messages to that server, and `return` steers the
 * client's packets there again.
 */
export type CoordinatorEffect =
  | {
      readonly type:
        | 'lock'
        | 'cancel'
        | 'take'
        | 'return'
        | 'freeze'
        | 'snapshot'
        | 'silence'
        | 'offer'
        | 'steer'
        | 'unsilence'
        | 'thaw'
        | 'unlock'
        | 'release'
        | 'reset'
    }
  | { readonly type: 'send'; readonly message: CommitMessage | AbortMessage }
  | { readonly type: 'start-timer'; readonly timer: CoordinatorTimer; readonly milliseconds: number }
  | { readonly type: 'cancel-timer'; readonly timer: CoordinatorTimer }
  | {
      readonly type: 'complete'
      readonly result: 'handed-off' | 'rolled-back' | 'lost'
      readonly failure?: HandoffFailure
    }

/** The state from here on, and what is to be done, in this order. */
export type CoordinatorStep = Step<CoordinatorState, CoordinatorEffect>

/** What a handoff begins with. */
export interface CoordinatorParameters extends HandoffReference {
  readonly limits: CoordinatorLimits
  /** See {@link CoordinatorState.remote}. */
  readonly remote: boolean
}
