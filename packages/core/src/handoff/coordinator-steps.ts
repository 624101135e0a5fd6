import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorState,
  CoordinatorStep,
  CoordinatorTimer,
  HandoffFailure,
} from './coordinator-state.ts'

/** Nothing happens. */
export function ignore(state: CoordinatorState): CoordinatorStep {
  return { state, effects: [] }
}

/** Why the handoff is to be undone from outside, when the event says so. */
export function interruption(event: CoordinatorEvent): HandoffFailure | undefined {
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

/** Why the target said no, when the event says so. */
export function refusal(event: CoordinatorEvent): HandoffFailure | undefined {
  if (event.type !== 'message' || event.message.type !== 'refuse') return undefined
  return { reason: 'refused', text: event.message.text, refusal: event.message.reason }
}

/** Starts a time limit. */
export function start(state: CoordinatorState, timer: CoordinatorTimer): CoordinatorEffect {
  return { type: 'start-timer', timer, milliseconds: state.limits[timer] }
}

/** Ends a time limit. */
export function cancelTimer(timer: CoordinatorTimer): CoordinatorEffect {
  return { type: 'cancel-timer', timer }
}

/** Tells the target that the connection is its own. */
export function sendCommit({ handoff, epoch, acknowledge }: CoordinatorState): CoordinatorEffect {
  return { type: 'send', message: { type: 'commit', handoff, epoch, acknowledge } }
}

/** Tells the target to forget the handoff. */
export function sendAbort({ handoff, epoch }: CoordinatorState): CoordinatorEffect {
  return { type: 'send', message: { type: 'abort', handoff, epoch } }
}
