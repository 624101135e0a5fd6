import type {
  HandoffFailure,
  OriginEffect,
  OriginEvent,
  OriginParameters,
  OriginState,
  OriginStep,
  OriginTimer,
} from './origin-state.ts'
import { UNLOCK_ATTEMPTS } from './origin-state.ts'

const LOCK = { type: 'lock' } as const
const CANCEL = { type: 'cancel' } as const
const THAW = { type: 'thaw' } as const
const UNLOCK = { type: 'unlock' } as const
const RELEASE = { type: 'release' } as const
const RESET = { type: 'reset' } as const

/** The first step of a handoff: lock the flow. */
export function originStart({ handoff, epoch, limits }: OriginParameters): OriginStep {
  const state: OriginState = { phase: 'locking', handoff, epoch, limits, acknowledge: false, lost: false, attempts: 0 }
  return { state, effects: [LOCK, start(state, 'lock')] }
}

/**
 * What happens next. Pure. An event that means nothing in this phase (a duplicate, another epoch, another handoff, a timer that is
 * no longer waited for) gives the same state object and no effects.
 */
export function originStep(state: OriginState, event: OriginEvent): OriginStep {
  if (event.type === 'message' && (event.message.handoff !== state.handoff || event.message.epoch !== state.epoch)) {
    return ignore(state)
  }
  switch (state.phase) {
    case 'locking':
      return locking(state, event)
    case 'freezing':
      return freezing(state, event)
    case 'snapshotting':
      return snapshotting(state, event)
    case 'silencing':
      return silencing(state, event)
    case 'offering':
      return offering(state, event)
    case 'steering':
      return steering(state, event)
    case 'committing':
      return committing(state, event)
    case 'grace':
      return grace(state, event)
    case 'thawing':
      return thawing(state, event)
    case 'unlocking':
      return unlocking(state, event)
    case 'finished':
      return ignore(state)
  }
}

function locking(state: OriginState, event: OriginEvent): OriginStep {
  switch (event.type) {
    case 'locked':
      if (state.failure) return unlock(state, [cancelTimer('lock')])
      return { state: { ...state, phase: 'freezing' }, effects: [cancelTimer('lock'), { type: 'freeze' }] }
    case 'lock-failed':
      // Putting a rule is atomic: there is none, so there is nothing to undo.
      return complete({ ...state, failure: state.failure ?? { reason: 'lock-failed', text: event.text } }, [
        cancelTimer('lock'),
      ])
    case 'timeout':
      if (event.timer !== 'lock') return ignore(state)
      // The rule may come yet. Cancelled and still no answer: remove what may be there.
      if (state.failure) return unlock(state, [])
      return withdraw(state, { reason: 'lock-timeout', text: 'the redirector did not lock the flow in time' }, 'lock')
  }
  const failure = interruption(event)
  return failure && !state.failure ? withdraw(state, failure, 'lock') : ignore(state)
}

function freezing(state: OriginState, event: OriginEvent): OriginStep {
  if (event.type === 'frozen') {
    if (state.failure) return thaw(state, state.failure)
    return { state: { ...state, phase: 'snapshotting' }, effects: [{ type: 'snapshot' }] }
  }
  if (event.type === 'freeze-failed') {
    return unlock({ ...state, failure: state.failure ?? { reason: 'freeze-failed', text: event.text } }, [])
  }
  return remember(state, event)
}

function snapshotting(state: OriginState, event: OriginEvent): OriginStep {
  if (event.type === 'snapshot-taken') {
    if (state.failure) return thaw(state, state.failure)
    return {
      state: { ...state, phase: 'silencing', acknowledge: event.acknowledge },
      effects: [start(state, 'lock'), { type: 'silence' }],
    }
  }
  if (event.type === 'snapshot-failed') {
    return thaw(state, state.failure ?? { reason: 'snapshot-failed', text: event.text })
  }
  return remember(state, event)
}

function silencing(state: OriginState, event: OriginEvent): OriginStep {
  switch (event.type) {
    case 'silenced':
      if (state.failure) return thaw(state, state.failure, [cancelTimer('lock')])
      return {
        state: { ...state, phase: 'offering' },
        effects: [cancelTimer('lock'), start(state, 'accept'), { type: 'offer' }],
      }
    case 'silence-failed':
      return thaw(state, state.failure ?? { reason: 'lock-failed', text: event.text }, [cancelTimer('lock')])
    case 'timeout':
      if (event.timer !== 'lock') return ignore(state)
      if (state.failure) return thaw(state, state.failure)
      return withdraw(
        state,
        { reason: 'lock-timeout', text: 'the redirector did not silence the flow in time' },
        'lock',
      )
  }
  const failure = interruption(event)
  return failure && !state.failure ? withdraw(state, failure, 'lock') : ignore(state)
}

function offering(state: OriginState, event: OriginEvent): OriginStep {
  const cancelAccept = cancelTimer('accept')
  if (event.type === 'message' && event.message.type === 'accept') {
    return { state: { ...state, phase: 'steering' }, effects: [cancelAccept, start(state, 'steer'), { type: 'steer' }] }
  }
  if (event.type === 'timeout' && event.timer === 'accept') {
    return thaw(state, { reason: 'accept-timeout', text: 'the target did not answer the offer in time' }, [], true)
  }
  const failure =
    event.type === 'send-failed'
      ? ({ reason: 'channel-lost', text: event.text } as const)
      : (refusal(event) ?? interruption(event))
  return failure ? thaw(state, failure, [cancelAccept], true) : ignore(state)
}

function steering(state: OriginState, event: OriginEvent): OriginStep {
  switch (event.type) {
    case 'steered':
      // The commit has happened, whatever else was wanted meanwhile: there is no way back from here.
      return {
        state: { ...withoutFailure(state), phase: 'committing' },
        effects: [cancelTimer('steer'), start(state, 'commit'), sendCommit(state)],
      }
    case 'steer-failed':
      return thaw(state, state.failure ?? { reason: 'steer-failed', text: event.text }, [cancelTimer('steer')], true)
    case 'timeout':
      if (event.timer !== 'steer') return ignore(state)
      // Cancelled and still no answer. Nobody knows where the packets go: neither host may go on with the connection.
      if (state.failure) return lose(state, state.failure, [sendAbort(state)])
      return withdraw(
        state,
        { reason: 'steer-timeout', text: 'the redirector did not steer the flow in time' },
        'steer',
      )
  }
  const failure = refusal(event) ?? interruption(event)
  return failure && !state.failure ? withdraw(state, failure, 'steer') : ignore(state)
}

function committing(state: OriginState, event: OriginEvent): OriginStep {
  const cancelTimers = [cancelTimer('commit'), cancelTimer('resend')]
  switch (event.type) {
    case 'channel-up':
      return { state, effects: [cancelTimer('resend'), sendCommit(state)] }
    case 'send-failed':
      return { state, effects: [start(state, 'resend')] }
    case 'timeout':
      if (event.timer === 'resend') return { state, effects: [sendCommit(state)] }
      if (event.timer !== 'commit') return ignore(state)
      return lose(state, { reason: 'commit-timeout', text: 'the target did not confirm the commit in time' }, [
        cancelTimer('resend'),
        sendAbort(state),
      ])
    case 'message': {
      if (event.message.type === 'committed') {
        return {
          state: { ...state, phase: 'grace' },
          effects: [...cancelTimers, start(state, 'grace'), { type: 'complete', result: 'handed-off' }],
        }
      }
      const failure = refusal(event)
      return failure ? lose(state, failure, cancelTimers) : ignore(state)
    }
    default:
      return ignore(state)
  }
}

function grace(state: OriginState, event: OriginEvent): OriginStep {
  const finished = { ...state, phase: 'finished' } as const
  if (event.type === 'timeout' && event.timer === 'grace') return { state: finished, effects: [RELEASE] }
  if (event.type === 'ended') return { state: finished, effects: [cancelTimer('grace'), RELEASE] }
  return ignore(state)
}

function thawing(state: OriginState, event: OriginEvent): OriginStep {
  if (event.type === 'thawed') return unlock(state, [])
  if (event.type === 'thaw-failed') {
    return unlock({ ...state, lost: true, failure: { reason: 'thaw-failed', text: event.text } }, [])
  }
  return ignore(state)
}

function unlocking(state: OriginState, event: OriginEvent): OriginStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unlocked') return complete(state, cancelTimers)
  // An operation that was given up was carried out after all, maybe after the removal.
  if (event.type === 'locked' || event.type === 'silenced' || event.type === 'steered')
    return { state, effects: [UNLOCK] }
  if (event.type === 'timeout' && event.timer === 'retry') return unlock(state, [])
  if (event.type !== 'unlock-failed' && !(event.type === 'timeout' && event.timer === 'unlock')) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  // The rule cannot be removed: the client's packets are held or steered for good, so the connection is beyond help.
  const text = event.type === 'unlock-failed' ? event.text : 'the redirector did not remove the rule in time'
  return complete({ ...state, lost: true, failure: { reason: 'unlock-failed', text } }, cancelTimers)
}

/** Cancels what the redirector is doing; its answer, or the time limit once more, decides how it goes on. */
function withdraw(state: OriginState, failure: HandoffFailure, timer: 'lock' | 'steer'): OriginStep {
  return { state: { ...state, failure }, effects: [CANCEL, start(state, timer)] }
}

/** The way back: the socket lives again before its lock goes (invariant 7). */
function thaw(state: OriginState, failure: HandoffFailure, before: OriginEffect[] = [], offered = false): OriginStep {
  return {
    state: { ...state, phase: 'thawing', failure },
    effects: offered ? [...before, THAW, sendAbort(state)] : [...before, THAW],
  }
}

/** The end of a connection after the commit: the rule goes first, for it would swallow the RST that the client is to get. */
function lose(state: OriginState, failure: HandoffFailure, before: OriginEffect[]): OriginStep {
  return unlock({ ...state, lost: true, failure }, before)
}

function unlock(state: OriginState, before: OriginEffect[]): OriginStep {
  const next: OriginState = { ...state, phase: 'unlocking', attempts: state.attempts + 1 }
  return { state: next, effects: [...before, start(state, 'unlock'), UNLOCK] }
}

function complete(state: OriginState, before: OriginEffect[]): OriginStep {
  const outcome = { type: 'complete', result: state.lost ? 'lost' : 'rolled-back' } as const
  const completion: OriginEffect = state.failure ? { ...outcome, failure: state.failure } : outcome
  return {
    state: { ...state, phase: 'finished' },
    effects: state.lost ? [...before, RESET, completion] : [...before, completion],
  }
}

/** An interruption while a synchronous call is being made: it counts when the call has returned. */
function remember(state: OriginState, event: OriginEvent): OriginStep {
  const failure = interruption(event)
  return failure && !state.failure ? { state: { ...state, failure }, effects: [] } : ignore(state)
}

function interruption(event: OriginEvent): HandoffFailure | undefined {
  switch (event.type) {
    case 'aborted':
    case 'client-gone':
      return { reason: event.type, text: event.text }
    case 'channel-lost':
      return { reason: 'channel-lost', text: 'the control channel to the target was lost' }
    default:
      return undefined
  }
}

function refusal(event: OriginEvent): HandoffFailure | undefined {
  if (event.type !== 'message' || event.message.type !== 'refuse') return undefined
  return { reason: 'refused', text: event.message.text, refusal: event.message.reason }
}

function ignore(state: OriginState): OriginStep {
  return { state, effects: [] }
}

function start(state: OriginState, timer: OriginTimer): OriginEffect {
  return { type: 'start-timer', timer, milliseconds: state.limits[timer] }
}

function cancelTimer(timer: OriginTimer): OriginEffect {
  return { type: 'cancel-timer', timer }
}

function sendCommit({ handoff, epoch, acknowledge }: OriginState): OriginEffect {
  return { type: 'send', message: { type: 'commit', handoff, epoch, acknowledge } }
}

function sendAbort({ handoff, epoch }: OriginState): OriginEffect {
  return { type: 'send', message: { type: 'abort', handoff, epoch } }
}

function withoutFailure({ failure: _, ...rest }: OriginState): OriginState {
  return rest
}
