import { sameHandoff } from '../protocol/reference.ts'
import { committing, grace, steering } from './coordinator-commit.ts'
import { freezing, locking, offering, silencing, snapshotting, taking } from './coordinator-offer.ts'
import type { CoordinatorEvent, CoordinatorParameters, CoordinatorState, CoordinatorStep } from './coordinator-state.ts'
import { ignore, start } from './coordinator-steps.ts'
import { thawing, unlocking, unsilencing } from './coordinator-undo.ts'

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
  return { state, effects: [{ type: 'lock' }, start(state, 'lock')] }
}

/**
 * What happens next. Pure. An event that means nothing in this phase (a duplicate, another epoch, another handoff, a timer that is
 * no longer waited for) gives the same state object and no effects.
 */
export function coordinatorStep(state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep {
  if (event.type === 'message' && !sameHandoff(event.message, state)) return ignore(state)
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
    case 'unsilencing':
      return unsilencing(state, event)
    case 'thawing':
      return thawing(state, event)
    case 'unlocking':
      return unlocking(state, event)
    case 'finished':
      return ignore(state)
  }
}
