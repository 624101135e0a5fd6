import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorParameters,
  CoordinatorState,
  CoordinatorStep,
  CoordinatorTimer,
  HandoffFailure,
} from './coordinator-state.ts'
import { COMMIT_ATTEMPTS, UNLOCK_ATTEMPTS } from './coordinator-state.ts'

const LOCK = { type: 'lock' } as const
const CANCEL = { type: 'cancel' } as const
const THAW = { type: 'thaw' } as const
const UNLOCK = { type: 'unlock' } as const
const RETURN = { type: 'return' } as const
const RELEASE = { type: 'release' } as const
const RESET = { type: 'reset' } as const

/** The first step of a handoff: lock the flow. */
export function coordinatorStart(parameters: CoordinatorParameters): CoordinatorStep {
  const { handoff, epoch, limits, remote } = parameters
  const state: CoordinatorState = {
    phase: 'locking',
    handoff,
    epoch,
    limits,
    remote,
    acknowledge: false,
    lost: false,
    attempts: 0,
    disconnected: false,
    commits: 0,
  }
  return { state, effects: [LOCK, start(state, 'lock')] }
}

/**
 * What happens next. Pure. An event that means nothing in this phase (a duplicate, another epoch, another handoff, a timer that is
 * no longer waited for) gives the same state object and no effects.
 */
export function coordinatorStep(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'message' && (event.message.handoff !== state.handoff || event.message.epoch !== state.epoch)) {
    return ignore(state)
  }
  switch (state.phase) {
    case 'locking':
      return locking(state, event)
    case 'taking':
      return taking(state, event)
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

function locking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  switch (event.type) {
    case 'locked':
      if (state.failure) return unlock(state, [cancelTimer('lock')])
      if (!state.remote) {
        return { state: { ...state, phase: 'freezing' }, effects: [cancelTimer('lock'), { type: 'freeze' }] }
      }
      return {
        state: { ...state, phase: 'taking' },
        effects: [cancelTimer('lock'), start(state, 'take'), { type: 'take' }],
      }
    case 'lock-failed':
      // Putting a rule is atomic: what was there before is there still, so there is nothing to undo.
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

/** The connection is at a server, and the client's packets are held here. */
function taking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelTake = cancelTimer('take')
  switch (event.type) {
    case 'offered':
      return {
        state: { ...state, phase: 'offering', acknowledge: event.acknowledge },
        effects: [cancelTake, start(state, 'accept'), { type: 'offer' }],
      }
    case 'take-refused':
      return unlock({ ...state, failure: { reason: 'take-refused', text: event.text } }, [cancelTake])
    case 'take-failed':
    case 'origin-lost':
      return thaw(state, { reason: 'channel-lost', text: 'the control channel to the origin was lost' }, [cancelTake])
    case 'timeout':
      if (event.timer !== 'take') return ignore(state)
      return thaw(state, { reason: 'take-timeout', text: 'the origin did not offer the connection in time' })
  }
  const failure = interruption(event)
  return failure ? thaw(state, failure, [cancelTake]) : ignore(state)
}

function freezing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'frozen') {
    if (state.failure) return thaw(state, state.failure)
    return { state: { ...state, phase: 'snapshotting' }, effects: [{ type: 'snapshot' }] }
  }
  if (event.type === 'freeze-failed') {
    return unlock({ ...state, failure: state.failure ?? { reason: 'freeze-failed', text: event.text } }, [])
  }
  return remember(state, event)
}

function snapshotting(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

function silencing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

function offering(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

function steering(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

function committing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelTimers = [cancelTimer('commit'), cancelTimer('resend')]
  switch (event.type) {
    case 'channel-lost':
      return state.disconnected ? ignore(state) : { state: { ...state, disconnected: true }, effects: [] }
    case 'channel-up':
      return resume(state)
    case 'send-failed':
      return { state, effects: [start(state, 'resend')] }
    case 'timeout':
      if (event.timer === 'resend') return { state, effects: [sendCommit(state)] }
      if (event.timer !== 'commit') return ignore(state)
      // The target owns the connection: it is only given up when it has had more than one chance to say so.
      if (state.disconnected && state.commits < COMMIT_ATTEMPTS) {
        return { state: { ...state, commits: state.commits + 1 }, effects: [start(state, 'commit')] }
      }
      return lose(state, { reason: 'commit-timeout', text: 'the target did not confirm the commit in time' }, [
        cancelTimer('resend'),
        sendAbort(state),
      ])
    case 'target-lost':
      return lose(state, { reason: 'target-lost', text: event.text }, [...cancelTimers, sendAbort(state)])
    case 'message': {
      if (event.message.type === 'committed') return committed(state, cancelTimers)
      const failure = refusal(event)
      return failure ? lose(state, failure, cancelTimers) : ignore(state)
    }
    default:
      return ignore(state)
  }
}

/** The channel to the target has returned: it gets the commit again, and time to answer. */
function resume(state: CoordinatorState): CoordinatorStep {
  const effects = [cancelTimer('resend'), sendCommit(state)]
  if (!state.disconnected) return { state, effects }
  const next = { ...state, disconnected: false }
  if (state.commits >= COMMIT_ATTEMPTS) return { state: next, effects }
  return { state: { ...next, commits: state.commits + 1 }, effects: [start(state, 'commit'), ...effects] }
}

function committed(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const completion = { type: 'complete', result: 'handed-off' } as const
  if (!state.remote) {
    return { state: { ...state, phase: 'grace' }, effects: [...before, start(state, 'grace'), completion] }
  }
  // The server that had it keeps its own lock and its own grace period.
  return { state: { ...state, phase: 'finished' }, effects: [...before, { type: 'release' }, completion] }
}

function grace(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const finished = { ...state, phase: 'finished' } as const
  if (event.type === 'timeout' && event.timer === 'grace') return { state: finished, effects: [RELEASE] }
  if (event.type === 'ended') return { state: finished, effects: [cancelTimer('grace'), RELEASE] }
  return ignore(state)
}

function thawing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'thawed') return unlock(state, [])
  if (event.type === 'thaw-failed') {
    return unlock({ ...state, lost: true, failure: { reason: 'thaw-failed', text: event.text } }, [])
  }
  return ignore(state)
}

function unlocking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unlocked') return complete(state, cancelTimers)
  // An operation that was given up was carried out after all, maybe after the removal.
  if (event.type === 'locked' || event.type === 'silenced' || event.type === 'steered')
    return { state, effects: [state.remote && !state.lost ? RETURN : UNLOCK] }
  if (event.type === 'timeout' && event.timer === 'retry') return unlock(state, [])
  if (event.type !== 'unlock-failed' && !(event.type === 'timeout' && event.timer === 'unlock')) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  // The rule cannot be removed: the client's packets are held or steered for good, so the connection is beyond help.
  const text = event.type === 'unlock-failed' ? event.text : 'the redirector did not remove the rule in time'
  return complete({ ...state, lost: true, failure: { reason: 'unlock-failed', text } }, cancelTimers)
}

/** Cancels what the redirector is doing; its answer, or the time limit once more, decides how it goes on. */
function withdraw(state: CoordinatorState, failure: HandoffFailure, timer: 'lock' | 'steer'): CoordinatorStep {
  return { state: { ...state, failure }, effects: [CANCEL, start(state, timer)] }
}

/** The way back: the socket lives again before its lock goes (invariant 7). */
function thaw(
  state: CoordinatorState,
  failure: HandoffFailure,
  before: CoordinatorEffect[] = [],
  offered = false,
): CoordinatorStep {
  return {
    state: { ...state, phase: 'thawing', failure },
    effects: offered ? [...before, THAW, sendAbort(state)] : [...before, THAW],
  }
}

/** The end of a connection after the commit: the rule goes first, for it would swallow the RST that the client is to get. */
function lose(state: CoordinatorState, failure: HandoffFailure, before: CoordinatorEffect[]): CoordinatorStep {
  return unlock({ ...state, lost: true, failure }, before)
}

function unlock(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const next: CoordinatorState = { ...state, phase: 'unlocking', attempts: state.attempts + 1 }
  const way = state.remote && !state.lost ? RETURN : UNLOCK
  return { state: next, effects: [...before, start(state, 'unlock'), way] }
}

function complete(state: CoordinatorState, before: CoordinatorEffect[]): CoordinatorStep {
  const outcome = { type: 'complete', result: state.lost ? 'lost' : 'rolled-back' } as const
  const completion: CoordinatorEffect = state.failure ? { ...outcome, failure: state.failure } : outcome
  return {
    state: { ...state, phase: 'finished' },
    effects: state.lost ? [...before, RESET, completion] : [...before, completion],
  }
}

/** An interruption while a synchronous call is being made: it counts when the call has returned. */
function remember(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const failure = interruption(event)
  return failure && !state.failure ? { state: { ...state, failure }, effects: [] } : ignore(state)
}

function interruption(event: CoordinatorEvent): HandoffFailure | undefined {
  switch (event.type) {
    case 'aborted':
    case 'client-gone':
      return { reason: event.type, text: event.text }
    case 'channel-lost':
      return { reason: 'channel-lost', text: 'the control channel to the target was lost' }
    case 'target-lost':
      return { reason: event.type, text: event.text }
    default:
      return undefined
  }
}

function refusal(event: CoordinatorEvent): HandoffFailure | undefined {
  if (event.type !== 'message' || event.message.type !== 'refuse') return undefined
  return { reason: 'refused', text: event.message.text, refusal: event.message.reason }
}

function ignore(state: CoordinatorState): CoordinatorStep {
  return { state, effects: [] }
}

function start(state: CoordinatorState, timer: CoordinatorTimer): CoordinatorEffect {
  return { type: 'start-timer', timer, milliseconds: state.limits[timer] }
}

function cancelTimer(timer: CoordinatorTimer): CoordinatorEffect {
  return { type: 'cancel-timer', timer }
}

function sendCommit({ handoff, epoch, acknowledge }: CoordinatorState): CoordinatorEffect {
  return { type: 'send', message: { type: 'commit', handoff, epoch, acknowledge } }
}

function sendAbort({ handoff, epoch }: CoordinatorState): CoordinatorEffect {
  return { type: 'send', message: { type: 'abort', handoff, epoch } }
}

function withoutFailure({ failure: _, ...rest }: CoordinatorState): CoordinatorState {
  return rest
}
