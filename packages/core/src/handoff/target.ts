import type { CommitMessage, OfferMessage, RefuseReason } from '../protocol/messages.ts'
import { sameHandoff } from '../protocol/reference.ts'
import { UNLOCK_ATTEMPTS } from './coordinator-state.ts'
import type {
  Refusal,
  TargetEffect,
  TargetEvent,
  TargetParameters,
  TargetState,
  TargetStep,
  TargetTimer,
} from './target-state.ts'

const VALIDATE = { type: 'validate' } as const
const LOCK = { type: 'lock' } as const
const CANCEL = { type: 'cancel' } as const
const RESTORE = { type: 'restore' } as const
const UNLOCK = { type: 'unlock' } as const
const ACKNOWLEDGE = { type: 'acknowledge' } as const
const ADOPT = { type: 'adopt' } as const
const DISCARD = { type: 'discard' } as const
const RESET = { type: 'reset' } as const
const GIVEN_UP = 'the coordinator has given the connection up'

/** The first step at the target: look at what is offered. */
export function targetStart({ handoff, epoch, limits }: TargetParameters): TargetStep {
  return {
    state: {
      phase: 'validating',
      handoff,
      epoch,
      limits,
      acknowledge: false,
      restoreMicroseconds: 0,
      adoptMicroseconds: 0,
      aborted: false,
      attempts: 0,
    },
    effects: [VALIDATE],
  }
}

/**
 * What happens next. Pure. An event that means nothing in this phase (a duplicate, another epoch, another handoff, a timer that is
 * no longer waited for) gives the same state object; a duplicate offer or commit is answered as it was the first time.
 */
export function targetStep(state: TargetState, event: TargetEvent): TargetStep {
  if (event.type === 'message' && !sameHandoff(event.message, state)) return ignore(state)
  switch (state.phase) {
    case 'validating':
      return validating(state, event)
    case 'locking':
      return locking(state, event)
    case 'restoring':
      return restoring(state, event)
    case 'prepared':
      return prepared(state, event)
    case 'withdrawing':
      return withdrawing(state, event)
    case 'unlocking':
      return unlocking(state, event)
    case 'adopting':
      return adopting(state, event)
    default:
      return last(state, event)
  }
}

/** Whether a phase is one of the last: nothing is held any more, only duplicates are answered. */
export function isLast({ phase }: TargetState): boolean {
  return LAST.has(phase)
}

const LAST: ReadonlySet<TargetState['phase']> = new Set(['owned', 'revoked', 'failed', 'refused', 'discarded'])

/** The answer to a commit that nothing is known of: after a restart, or when the coordinator was too late. */
export function refuseUnknown({ handoff, epoch }: CommitMessage | OfferMessage): TargetEffect {
  const text = 'no such handoff is prepared here (any more)'
  return { type: 'send', message: { type: 'refuse', handoff, epoch, reason: 'unknown', text } }
}

function validating(state: TargetState, event: TargetEvent): TargetStep {
  if (event.type === 'valid') {
    if (state.aborted) return { state: { ...state, phase: 'discarded' }, effects: [] }
    const next: TargetState = { ...state, phase: 'locking', acknowledge: event.acknowledge }
    return { state: next, effects: [start(state, 'lock'), LOCK] }
  }
  if (event.type === 'invalid') {
    return state.aborted ? { state: { ...state, phase: 'discarded' }, effects: [] } : refuse(state, event, 'refused')
  }
  // It may have to wait for what is left of an earlier handoff.
  return isWithdrawal(event) && !state.aborted ? { state: { ...state, aborted: true }, effects: [] } : ignore(state)
}

function locking(state: TargetState, event: TargetEvent): TargetStep {
  switch (event.type) {
    case 'locked': {
      if (state.aborted || state.refusal) return withdraw(state, [cancelTimer('lock')])
      return { state: { ...state, phase: 'restoring' }, effects: [cancelTimer('lock'), RESTORE] }
    }
    case 'lock-failed': {
      // What may be there is what this host had put when it gave the connection away, and has nobody else who removes it.
      const cancel = [cancelTimer('lock')]
      if (state.aborted || state.refusal) return withdraw(state, cancel)
      const refusal = { reason: 'failed', text: event.text } as const
      return withdraw({ ...state, refusal }, [...cancel, sendRefusal(state, refusal)])
    }
    case 'timeout':
      if (event.timer !== 'lock') return ignore(state)
      // Cancelled and still no answer: remove what may be there.
      if (state.aborted || state.refusal) return withdraw(state, [])
      return refuse(state, { reason: 'failed', text: 'the redirector did not lock the flow in time' }, 'locking', [
        CANCEL,
        start(state, 'lock'),
      ])
  }
  if (!isWithdrawal(event) || state.aborted || state.refusal) return ignore(state)
  return { state: { ...state, aborted: true }, effects: [CANCEL, start(state, 'lock')] }
}

function restoring(state: TargetState, event: TargetEvent): TargetStep {
  if (event.type === 'restored') {
    const next = { ...state, restoreMicroseconds: event.restoreMicroseconds }
    if (state.aborted) return withdraw(next, [DISCARD])
    return { state: { ...next, phase: 'prepared' }, effects: [start(state, 'prepared'), sendAccept(next)] }
  }
  if (event.type === 'restore-failed') {
    if (state.aborted) return withdraw(state, [])
    const refusal = { reason: 'failed', text: event.text } as const
    return withdraw({ ...state, refusal }, [sendRefusal(state, refusal)])
  }
  if (isWithdrawal(event) && !state.aborted) return { state: { ...state, aborted: true }, effects: [] }
  return ignore(state)
}

function prepared(state: TargetState, event: TargetEvent): TargetStep {
  if (event.type === 'timeout' && event.timer === 'prepared') return withdraw({ ...state, aborted: true }, [DISCARD])
  if (isWithdrawal(event)) return withdraw({ ...state, aborted: true }, [cancelTimer('prepared'), DISCARD])
  if (event.type !== 'message') return ignore(state)
  if (event.message.type === 'offer') return { state, effects: [sendAccept(state)] }
  if (event.message.type !== 'commit') return ignore(state)
  const committed = { ...state, acknowledge: state.acknowledge || event.message.acknowledge }
  return unlock(committed, 'unlocking', [cancelTimer('prepared')])
}

/** Not committed: nothing is behind the lock any more, and it goes. */
function withdrawing(state: TargetState, event: TargetEvent): TargetStep {
  const end = { ...state, phase: state.aborted ? 'discarded' : 'refused' } as const
  if (event.type === 'message' && event.message.type === 'commit')
    return { state, effects: [refuseUnknown(event.message)] }
  return afterUnlock(
    state,
    event,
    () => ({ state: end, effects: [] }),
    () => ({ state: end, effects: [] }),
  )
}

/** Committed: the lock goes, and what it held meets the restored socket. */
function unlocking(state: TargetState, event: TargetEvent): TargetStep {
  if (isAbort(event)) return remember(state)
  const adopt = (): TargetStep => ({
    state: { ...state, phase: 'adopting' },
    effects: state.acknowledge ? [start(state, 'adopt'), ACKNOWLEDGE, ADOPT] : [start(state, 'adopt'), ADOPT],
  })
  const fail = (text: string): TargetStep => refuse(state, { reason: 'failed', text }, 'failed', [RESET])
  return afterUnlock(state, event, state.aborted ? () => fail(GIVEN_UP) : adopt, fail)
}

function adopting(state: TargetState, event: TargetEvent): TargetStep {
  if (isAbort(event)) return remember(state)
  if (event.type === 'adopted') {
    if (state.aborted) {
      return { state: { ...state, phase: 'revoked' }, effects: [cancelTimer('adopt'), { type: 'revoke' }] }
    }
    const next: TargetState = { ...state, phase: 'owned', adoptMicroseconds: event.adoptMicroseconds }
    return { state: next, effects: [cancelTimer('adopt'), sendCommitted(next)] }
  }
  if (event.type === 'adopt-failed') {
    return refuse(state, { reason: 'failed', text: event.text }, 'failed', [cancelTimer('adopt'), RESET])
  }
  if (event.type === 'timeout' && event.timer === 'adopt') {
    return refuse(state, { reason: 'failed', text: 'the application did not take the connection in time' }, 'failed', [
      RESET,
    ])
  }
  return ignore(state)
}

function last(state: TargetState, event: TargetEvent): TargetStep {
  if (event.type !== 'message') return ignore(state)
  if (event.message.type === 'offer' && state.phase === 'refused' && state.refusal) {
    return { state, effects: [sendRefusal(state, state.refusal)] }
  }
  // After the commit an abort means that the coordinator has given the connection up.
  if (event.message.type === 'abort' && state.phase === 'owned') {
    return { state: { ...state, phase: 'revoked' }, effects: [{ type: 'revoke' }] }
  }
  if (event.message.type !== 'commit') return ignore(state)
  if (state.phase === 'owned') return { state, effects: [sendCommitted(state)] }
  if (state.phase === 'failed' && state.refusal) return { state, effects: [sendRefusal(state, state.refusal)] }
  return { state, effects: [refuseUnknown(event.message)] }
}

function afterUnlock(
  state: TargetState,
  event: TargetEvent,
  done: () => TargetStep,
  givenUp: (text: string) => TargetStep,
): TargetStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unlocked') return before(cancelTimers, done())
  // A lock that was given up was put after all, maybe after the removal.
  if (event.type === 'locked') return { state, effects: [UNLOCK] }
  if (event.type === 'timeout' && event.timer === 'retry') return unlock(state, state.phase, [])
  if (event.type !== 'unlock-failed' && !(event.type === 'timeout' && event.timer === 'unlock')) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  const text = event.type === 'unlock-failed' ? event.text : 'the redirector did not remove the rule in time'
  return before(cancelTimers, givenUp(text))
}

function withdraw(state: TargetState, effects: TargetEffect[]): TargetStep {
  return unlock(state, 'withdrawing', effects)
}

function unlock(state: TargetState, phase: TargetState['phase'], effects: TargetEffect[]): TargetStep {
  const next = { ...state, phase, attempts: state.attempts + 1 }
  return { state: next, effects: [...effects, start(state, 'unlock'), UNLOCK] }
}

function refuse(
  state: TargetState,
  { reason, text }: Refusal,
  phase: 'refused' | 'failed' | 'locking',
  effects: TargetEffect[] = [],
): TargetStep {
  const refusal = { reason, text }
  return { state: { ...state, phase, refusal }, effects: [...effects, sendRefusal(state, refusal)] }
}

function before(effects: TargetEffect[], step: TargetStep): TargetStep {
  return { state: step.state, effects: [...effects, ...step.effects] }
}

/** The coordinator has given the connection up after the commit: it counts when the step that is being taken is done. */
function remember(state: TargetState): TargetStep {
  return state.aborted ? ignore(state) : { state: { ...state, aborted: true }, effects: [] }
}

function isAbort(event: TargetEvent): boolean {
  return event.type === 'message' && event.message.type === 'abort'
}

function isWithdrawal(event: TargetEvent): boolean {
  return event.type === 'withdrawn' || isAbort(event)
}

function ignore(state: TargetState): TargetStep {
  return { state, effects: [] }
}

function start(state: TargetState, timer: TargetTimer): TargetEffect {
  return { type: 'start-timer', timer, milliseconds: state.limits[timer] }
}

function cancelTimer(timer: TargetTimer): TargetEffect {
  return { type: 'cancel-timer', timer }
}

function sendAccept({ handoff, epoch, restoreMicroseconds }: TargetState): TargetEffect {
  return { type: 'send', message: { type: 'accept', handoff, epoch, restoreMicroseconds } }
}

function sendCommitted({ handoff, epoch, adoptMicroseconds }: TargetState): TargetEffect {
  return { type: 'send', message: { type: 'committed', handoff, epoch, adoptMicroseconds } }
}

function sendRefusal(
  { handoff, epoch }: TargetState,
  { reason, text }: { reason: RefuseReason; text: string },
): TargetEffect {
  return { type: 'send', message: { type: 'refuse', handoff, epoch, reason, text } }
}
