import {
  COMMIT_ATTEMPTS,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type CoordinatorStep,
} from './coordinator-state.ts'
import { cancelTimer, ignore, interruption, refusal, sendAbort, sendCommit, start } from './coordinator-steps.ts'
import { lose, undoOffer, withdraw } from './coordinator-undo.ts'

const RELEASE = { type: 'release' } as const

// The commit and what follows. From there on the connection is the target's.

/** Hold is being replaced: the commit point. */
export function steering(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  switch (event.type) {
    case 'steered':
      // The commit has happened, whatever else was wanted meanwhile: there is no way back from here.
      return {
        state: { ...withoutFailure(state), phase: 'committing' },
        effects: [cancelTimer('steer'), start(state, 'commit'), sendCommit(state)],
      }
    case 'steer-failed':
      return undoOffer(state, state.failure ?? { reason: 'steer-failed', text: event.text }, [cancelTimer('steer')])
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

/** The target is to say that its application has the connection. */
export function committing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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
  // The origin's lock is its own: it becomes the rule for late packets, and its grace period begins.
  return { state: { ...state, phase: 'finished' }, effects: [...before, RELEASE, completion] }
}

/** Done. What is left is the frozen socket. */
export function grace(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const finished = { ...state, phase: 'finished' } as const
  if (event.type === 'timeout' && event.timer === 'grace') return { state: finished, effects: [RELEASE] }
  if (event.type === 'ended') return { state: finished, effects: [cancelTimer('grace'), RELEASE] }
  return ignore(state)
}

function withoutFailure({ failure: _, ...rest }: CoordinatorState): CoordinatorState {
  return rest
}
