import type { HandoffReference, RefuseMessage, ToOriginMessage } from '../protocol/messages.ts'
import type { Step } from './state-machine.ts'

/** The longest that each step may take at a server that gives a connection, in milliseconds. */
export interface OriginLimits {
  /** Putting the hold rule, and making it silent. */
  readonly lock: number
  /**
   * From the offer to the gateway's decision, which may wait for the gateway's next process. Past it the frozen socket is closed without
   * a word: the connection may live elsewhere.
   */
  readonly decision: number
  /** Replacing hold by the rule that sends late packets back to the gateway. */
  readonly forward: number
  /** How long late packets are sent back to the gateway. */
  readonly grace: number
  /** One attempt to remove a rule. */
  readonly unlock: number
  /** Between two attempts to remove a rule. */
  readonly retry: number
}

/** What applies where nothing else is said. */
export const DEFAULT_ORIGIN_LIMITS: OriginLimits = {
  lock: 1000,
  decision: 60_000,
  forward: 1000,
  grace: 1000,
  unlock: 1000,
  retry: 100,
}

/** The time limits by their names. */
export type OriginTimer = keyof OriginLimits

/**
 * `locking`: hold is being put. `freezing`, `snapshotting`: the calls are being made. `silencing`: hold is being made silent.
 * `offered`: the gateway has the offer and decides. `forwarding`: the connection lives elsewhere, or may; hold is being replaced by the
 * rule for late packets. `grace`: they are sent back to the gateway. `thawing`, `unlocking`: the way back, or out. `finished`: nothing is left.
 */
export type OriginPhase =
  | 'locking'
  | 'freezing'
  | 'snapshotting'
  | 'silencing'
  | 'offered'
  | 'forwarding'
  | 'grace'
  | 'thawing'
  | 'unlocking'
  | 'finished'

/** `given`: it lives elsewhere. `kept`: it goes on here. `lost`: neither; the socket is closed. */
export type OriginResult = 'given' | 'kept' | 'lost'

/** One handoff as the server that gives the connection sees it. Immutable. */
export interface OriginState extends HandoffReference {
  readonly phase: OriginPhase
  readonly limits: OriginLimits
  /** Set when the connection is not to be given: why. */
  readonly failure?: string
  /** What becomes of the connection; until it is known, `kept`. */
  readonly result: OriginResult
  /** Whether the socket, frozen or not, was closed. */
  readonly closed: boolean
  /** Whether the result was told: what is left is the rule for late packets. */
  readonly told: boolean
  readonly attempts: number
}

/** What happens to a handoff at its origin: answers to its effects, decisions of the gateway, and what comes from outside. */
export type OriginEvent =
  | {
      readonly type:
        | 'locked'
        | 'frozen'
        | 'snapshot-taken'
        | 'silenced'
        | 'forwarded'
        | 'thawed'
        | 'unlocked'
        /** The connection comes back: what is left of this handoff makes room for the next. */
        | 'superseded'
    }
  | {
      readonly type:
        | 'lock-failed'
        | 'freeze-failed'
        | 'snapshot-failed'
        | 'silence-failed'
        | 'forward-failed'
        | 'thaw-failed'
        | 'unlock-failed'
        /** The offer could not be handed to the channel. */
        | 'send-failed'
        /** This host is closing, and the gateway has not got the offer yet. */
        | 'aborted'
      readonly text: string
    }
  | { readonly type: 'message'; readonly message: ToOriginMessage }
  | { readonly type: 'timeout'; readonly timer: OriginTimer }

/** What is to be done at the origin. `complete` tells the caller; more effects may follow it later. `cancel` aborts a lock or silence that is being carried out. */
export type OriginEffect =
  | {
      readonly type:
        | 'lock'
        | 'cancel'
        | 'freeze'
        | 'snapshot'
        | 'silence'
        | 'offer'
        | 'forward'
        | 'thaw'
        | 'unlock'
        | 'release'
        | 'reset'
    }
  | { readonly type: 'send'; readonly message: RefuseMessage }
  | { readonly type: 'start-timer'; readonly timer: OriginTimer; readonly milliseconds: number }
  | { readonly type: 'cancel-timer'; readonly timer: OriginTimer }
  | { readonly type: 'complete'; readonly result: OriginResult; readonly failure?: string }

/** The state from here on, and what is to be done, in this order. */
export type OriginStep = Step<OriginState, OriginEffect>

/** What a handoff begins with. */
export interface OriginParameters extends HandoffReference {
  readonly limits: OriginLimits
}
