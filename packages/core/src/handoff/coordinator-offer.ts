import type { CoordinatorEvent, CoordinatorState, CoordinatorStep } from './coordinator-state.ts'
import { cancelTimer, ignore, interruption, refusal, start } from './coordinator-steps.ts'
import { complete, thaw, undoOffer, unlock, withdraw } from './coordinator-undo.ts'

// The phases up to the target's answer. Until then the connection can go on at its origin, whatever happens.

/** The flow is being locked. */
export function locking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

/** The client's packets are held here, and the server that has the connection was asked for it. */
export function taking(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

/** The call to freeze the connection is being made. */
export function freezing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'frozen') {
    if (state.failure) return thaw(state, state.failure)
    return { state: { ...state, phase: 'snapshotting' }, effects: [{ type: 'snapshot' }] }
  }
  if (event.type === 'freeze-failed') {
    return unlock({ ...state, failure: state.failure ?? { reason: 'freeze-failed', text: event.text } }, [])
  }
  return remember(state, event)
}

/** The call to take the snapshot is being made. */
export function snapshotting(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

/** The lock is being made silent. */
export function silencing(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
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

/** The target has the offer. */
export function offering(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const cancelAccept = cancelTimer('accept')
  if (event.type === 'message' && event.message.type === 'accept') {
    return { state: { ...state, phase: 'steering' }, effects: [cancelAccept, start(state, 'steer'), { type: 'steer' }] }
  }
  if (event.type === 'timeout' && event.timer === 'accept') {
    return undoOffer(state, { reason: 'accept-timeout', text: 'the target did not answer the offer in time' })
  }
  const failure =
    event.type === 'send-failed'
      ? ({ reason: 'channel-lost', text: event.text } as const)
      : (refusal(event) ?? interruption(event))
  return failure ? undoOffer(state, failure, [cancelAccept]) : ignore(state)
}

/** An interruption while a synchronous call is being made: it counts when the call has returned. */
function remember(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  const failure = interruption(event)
  return failure && !state.failure ? { state: { ...state, failure }, effects: [] } : ignore(state)
}
