import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type CoordinatorStep,
  type HandoffFailure,
  UNLOCK_ATTEMPTS,
} from './coordinator-state.ts'
import { cancelTimer, ignore, sendAbort, start } from './coordinator-steps.ts'

// The way back to the origin, and the end of what is lost.

const CANCEL = { type: 'cancel' } as const
const THAW = { type: 'thaw' } as const
const UNSILENCE = { type: 'unsilence' } as const
const UNLOCK = { type: 'unlock' } as const
const RETURN = { type: 'return' } as const
const RESET = { type: 'reset' } as const

/** The call to thaw the connection is being made. */
export function thawing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'thawed') return unlock(state, [])
  if (event.type === 'thaw-failed') {
    return unlock({ ...state, lost: true, failure: { reason: 'thaw-failed', text: event.text } }, [])
  }
  return ignore(state)
}

/** The rule is being removed, or brought back to what it was. */
export function unlocking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unlocked') return complete(state, cancelTimers)
  // An operation that was given up was carried out after all, maybe after the removal.
  if (isPut(event)) return { state, effects: [wayBack(state)] }
  if (event.type === 'timeout' && event.timer === 'retry') return unlock(state, [])
  if (event.type !== 'unlock-failed' && !(event.type === 'timeout' && event.timer === 'unlock')) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  // The rule cannot be removed: the client's packets are held or steered for good, so the connection is beyond help.
  const text = event.type === 'unlock-failed' ? event.text : 'the redirector did not remove the rule in time'
  return complete({ ...state, lost: true, failure: { reason: 'unlock-failed', text } }, cancelTimers)
}

/** The rule is being made one behind which nothing was committed. */
export function unsilencing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unsilenced') return thawTold({ ...state, attempts: 0 }, cancelTimers)
  if (event.type === 'timeout' && event.timer === 'retry') return unsilence(state, [])
  const failed = event.type === 'unsilence-failed' || (event.type === 'timeout' && event.timer === 'unlock')
  if (!failed) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  // Should this process die now, the next one would commit: so it must not go on here.
  const text = event.type === 'unsilence-failed' ? event.text : 'the redirector did not replace the rule in time'
  return lose({ ...state, attempts: 0 }, { reason: 'unlock-failed', text }, [...cancelTimers, sendAbort(state)])
}

/** Whether the redirector has put a rule. */
export function isPut({ type }: CoordinatorEvent): boolean {
  return type === 'locked' || type === 'silenced' || type === 'steered' || type === 'unsilenced'
}

/** Cancels what the redirector is doing; its answer, or the time limit once more, decides how it goes on. */
export function withdraw(state: CoordinatorState, failure: HandoffFailure, timer: 'lock' | 'steer'): CoordinatorStep {
  return { state: { ...state, failure }, effects: [CANCEL, start(state, timer)] }
}

/** The way back before the offer: the socket lives again before its lock goes (invariant 7). */
export function thaw(
  state: CoordinatorState,
  failure: HandoffFailure,
  before: CoordinatorEffect[] = [],
): CoordinatorStep {
  return { state: { ...state, phase: 'thawing', failure }, effects: [...before, THAW] }
}

/**
 * The way back after the offer. Behind a silent lock a next process of this gateway commits what the target has prepared (see
 * `reconcile`): rightly, as nothing of a frozen origin can have gone on without this process. Of a thawed one it can, when another program
 * has the socket too. So the rule says first that this is not committed.
 */
export function undoOffer(
  state: CoordinatorState,
  failure: HandoffFailure,
  before: CoordinatorEffect[] = [],
): CoordinatorStep {
  const failed = { ...state, failure }
  // The lock of a connection that is at a server is not silent.
  return state.remote ? thawTold(failed, before) : unsilence(failed, before)
}

function unsilence(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const next: CoordinatorState = { ...state, phase: 'unsilencing', attempts: state.attempts + 1 }
  return { state: next, effects: [...before, start(state, 'unlock'), UNSILENCE] }
}

/** Thaws, and lets the target forget the handoff. */
function thawTold(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  return { state: { ...state, phase: 'thawing' }, effects: [...before, THAW, sendAbort(state)] }
}

/** The end of a connection after the commit: the rule goes first, for it would swallow the RST that the client is to get. */
export function lose(state: CoordinatorState, failure: HandoffFailure, before: CoordinatorEffect[]): CoordinatorStep {
  return unlock({ ...state, lost: true, failure }, before)
}

/** The rule goes, or leads back to the server that has the connection. */
export function unlock(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const next: CoordinatorState = { ...state, phase: 'unlocking', attempts: state.attempts + 1 }
  return { state: next, effects: [...before, start(state, 'unlock'), wayBack(state)] }
}

function wayBack({ remote, lost }: CoordinatorState): CoordinatorEffect {
  return remote && !lost ? RETURN : UNLOCK
}

/** The end of a handoff that was undone. */
export function complete(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const outcome = { type: 'complete', result: state.lost ? 'lost' : 'rolled-back' } as const
  const completion: CoordinatorEffect = state.failure ? { ...outcome, failure: state.failure } : outcome
  return {
    state: { ...state, phase: 'finished' },
    effects: state.lost ? [...before, RESET, completion] : [...before, completion],
  }
}
