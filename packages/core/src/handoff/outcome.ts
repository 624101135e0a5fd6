import type { Channel } from '../ports.ts'
import type { SteerTarget } from '../redirector.ts'
import type { HandoffFailure } from './coordinator-state.ts'

/** How long each step took, in microseconds. A step that was not reached is absent. */
export interface StepTimes {
  /** Putting the hold rule. */
  lock?: number
  /** From asking the server that has the connection until its offer is here. */
  take?: number
  freeze?: number
  snapshot?: number
  /** Making the hold silent. */
  silence?: number
  /** From the offer, its encoding included, to the accept. */
  offer?: number
  /** Part of `offer`: restoring, as the target measured it. */
  restore?: number
  /** Replacing hold by steer. */
  steer?: number
  /** From the commit to `committed`. */
  commit?: number
  /** Part of `commit`: the application taking the connection, as the target measured it. */
  adopt?: number
  /** From the call to the outcome. */
  total: number
}

/**
 * `handed-off`: the target's application has the connection. `rolled-back`: the connection goes on at the origin as if nothing had
 * happened. `lost`: neither is true; the origin's socket was reset and the rule removed (or, `unlock-failed`, could not be). What is
 * said of the origin's socket is ordered, but not confirmed, when the origin is a server.
 */
export interface HandoffOutcome {
  readonly result: 'handed-off' | 'rolled-back' | 'lost'
  /** The number of the handoff; 0 when it was not begun. */
  readonly handoff: number
  /** Absent when it was handed off. */
  readonly failure?: HandoffFailure
  readonly times: StepTimes
}

/** Where a connection is to go. */
export interface HandoffDestination {
  readonly channel: Channel
  /** How the gateway's redirector reaches the target. Absent when the target is the gateway itself. */
  readonly steer?: SteerTarget
  /** How many handoffs the target takes at a time (its hello says so). Default: no limit but its own refusal. */
  readonly maximumHandoffs?: number
}

/** How one connection is handed off. */
export interface HandOffOptions {
  /** Undoes the handoff if that is still possible. */
  readonly signal?: AbortSignal
  /** Makes the target acknowledge the client's bytes at once. Default: when the snapshot says that it is owed. */
  readonly acknowledge?: boolean
}
