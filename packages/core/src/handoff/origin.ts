import { sameHandoff } from '../protocol/reference.ts'
import { UNLOCK_ATTEMPTS } from './coordinator-state.ts'
import type {
  OriginEffect,
  OriginEvent,
  OriginParameters,
  OriginState,
  OriginStep,
  OriginTimer,
} from './origin-state.ts'

const LOCK = { type: 'lock' } as const
const CANCEL = { type: 'cancel' } as const
const THAW = { type: 'thaw' } as const
const UNLOCK = { type: 'unlock' } as const
const RELEASE = { type: 'release' } as const

/** The first step of giving a connection: lock the flow on this host too, for what the socket says when it is frozen. */
export function originStart({ handoff, epoch, limits }: OriginParameters): OriginStep {
  const state: OriginState = {
    phase: 'locking',
    handoff,
    epoch,
    limits,
    result: 'kept',
    closed: false,
    told: false,
    attempts: 0,
  }
  return { state, effects: [LOCK, start(state, 'lock')] }
}

/**
 * What happens next. Pure. The gateway coordinates: once the connection is offered only its decision, or its silence for a very long
 * time, ends the wait. An event that means nothing in this phase gives the same state object and no effects.
 */
export function originStep(state: OriginState, event: OriginEvent): OriginStep {
  if (event.type === 'message' && !sameHandoff(event.message, state)) return ignore(state)
  switch (state.phase) {
    case 'locking':
      return locking(state, event)
    case 'freezing':
      if (event.type === 'frozen') {
        if (state.failure) return thaw(state, state.failure)
        return step(state, 'snapshotting', [{ type: 'snapshot' }])
      }
      if (event.type === 'freeze-failed') return unlock(refuse(state, event.text), [])
      return remember(state, event)
    case 'snapshotting':
      if (event.type === 'snapshot-taken') {
        if (state.failure) return thaw(state, state.failure)
        return step(state, 'silencing', [start(state, 'lock'), { type: 'silence' }])
      }
      if (event.type === 'snapshot-failed') return thaw(state, event.text)
      return remember(state, event)
    case 'silencing':
      return silencing(state, event)
    case 'offered':
      return offered(state, event)
    case 'forwarding':
      return forwarding(state, event)
    case 'grace':
      return grace(state, event)
    case 'thawing':
      if (event.type === 'thawed') return unlock(state, [])
      if (event.type === 'thaw-failed') return unlock({ ...state, result: 'lost', failure: event.text }, [])
      return ignore(state)
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
      return step(state, 'freezing', [cancelTimer('lock'), { type: 'freeze' }])
    case 'lock-failed':
      return complete(refuse(state, event.text), [cancelTimer('lock')])
    case 'timeout':
      if (event.timer !== 'lock') return ignore(state)
      // Cancelled and still no answer: remove what may be there.
      if (state.failure) return unlock(state, [])
      return withdraw(state, 'the redirector did not lock the flow in time')
  }
  return interrupted(state, event)
}

function silencing(state: OriginState, event: OriginEvent): OriginStep {
  switch (event.type) {
    case 'silenced':
      if (state.failure) return thaw(state, state.failure, [cancelTimer('lock')])
      return step(state, 'offered', [cancelTimer('lock'), start(state, 'decision'), { type: 'offer' }])
    case 'silence-failed':
      return thaw(state, event.text, [cancelTimer('lock')])
    case 'timeout':
      if (event.timer !== 'lock') return ignore(state)
      if (state.failure) return thaw(state, state.failure)
      return withdraw(state, 'the redirector did not silence the flow in time')
  }
  return interrupted(state, event)
}

/** Only the gateway knows where the connection lives from here on. */
function offered(state: OriginState, event: OriginEvent): OriginStep {
  const cancelDecision = cancelTimer('decision')
  // It was not sent, so there is nothing to decide.
  if (event.type === 'send-failed') return thaw(state, event.text, [cancelDecision])
  if (event.type === 'timeout' && event.timer === 'decision') {
    return forward({ ...state, result: 'lost', failure: 'the gateway did not decide in time' }, [])
  }
  if (event.type !== 'message') return ignore(state)
  switch (event.message.type) {
    case 'release':
      return forward({ ...state, result: 'given' }, [cancelDecision])
    case 'abort':
      return thaw({ ...state, failure: 'the gateway has undone the handoff' }, undefined, [cancelDecision])
    case 'reset':
      return unlock({ ...state, result: 'lost', failure: 'the connection is lost' }, [cancelDecision])
    default:
      return ignore(state)
  }
}

/** Behind the new rule no packet reaches this host's stack, so the socket is not needed to keep it from answering. */
function forwarding(state: OriginState, event: OriginEvent): OriginStep {
  const cancelForward = cancelTimer('forward')
  if (event.type === 'forwarded') {
    const next: OriginState = { ...state, phase: 'grace', closed: true, told: true, attempts: 0 }
    return { state: next, effects: [cancelForward, cancelTimer('retry'), RELEASE, start(state, 'grace'), tell(state)] }
  }
  if (event.type === 'timeout' && event.timer === 'retry') {
    return forward(state, [])
  }
  const failed = event.type === 'forward-failed' || (event.type === 'timeout' && event.timer === 'forward')
  if (!failed) return ignore(state)
  const attempts = state.attempts + 1
  if (attempts < UNLOCK_ATTEMPTS)
    return { state: { ...state, attempts }, effects: [cancelForward, start(state, 'retry')] }
  // The lock stays instead, and behind it the frozen socket: late packets are kept from the stack, though not sent on.
  return {
    state: { ...state, phase: 'grace', told: true, attempts: 0 },
    effects: [cancelForward, cancelTimer('retry'), start(state, 'grace'), tell(state)],
  }
}

function grace(state: OriginState, event: OriginEvent): OriginStep {
  const over = event.type === 'timeout' && event.timer === 'grace'
  if (!over && event.type !== 'superseded') return ignore(state)
  if (over) return unlock(state, [])
  // The next handoff replaces the rule.
  const effects: OriginEffect[] = state.closed ? [] : [RELEASE]
  return { state: { ...state, phase: 'finished', closed: true }, effects: [cancelTimer('grace'), ...effects] }
}

function unlocking(state: OriginState, event: OriginEvent): OriginStep {
  const cancelTimers = [cancelTimer('unlock'), cancelTimer('retry')]
  if (event.type === 'unlocked') return complete(state, cancelTimers)
  // An operation that was given up was carried out after all, maybe after the removal.
  if (event.type === 'locked' || event.type === 'silenced' || event.type === 'forwarded') {
    return { state, effects: [UNLOCK] }
  }
  if (event.type === 'timeout' && event.timer === 'retry') return unlock(state, [])
  if (event.type !== 'unlock-failed' && !(event.type === 'timeout' && event.timer === 'unlock')) return ignore(state)
  if (state.attempts < UNLOCK_ATTEMPTS) return { state, effects: [cancelTimer('unlock'), start(state, 'retry')] }
  if (state.told) return complete(state, cancelTimers)
  // The lock stays for good: no packet of the client arrives any more, so the connection is beyond help.
  const text = event.type === 'unlock-failed' ? event.text : 'the redirector did not remove the rule in time'
  return complete({ ...state, result: 'lost', failure: text }, cancelTimers)
}

/** Cancels what the redirector is doing; its answer, or the time limit once more, decides how it goes on. */
function withdraw(state: OriginState, failure: string): OriginStep {
  const next = refuse(state, failure)
  return { state: next.state, effects: [CANCEL, start(state, 'lock'), ...next.effects] }
}

function interrupted(state: OriginState, event: OriginEvent): OriginStep {
  const failure = interruption(event)
  return failure && !state.failure ? withdraw(state, failure) : ignore(state)
}

/** An interruption while a synchronous call is being made: it counts when the call has returned. */
function remember(state: OriginState, event: OriginEvent): OriginStep {
  const failure = interruption(event)
  return failure && !state.failure ? refuse(state, failure) : ignore(state)
}

function interruption(event: OriginEvent): string | undefined {
  if (event.type === 'aborted') return event.text
  if (event.type === 'message' && event.message.type === 'abort') return 'the gateway has undone the handoff'
  return undefined
}

/** Tells the gateway, once, that the connection stays. */
function refuse(state: OriginState, failure: string): OriginStep {
  if (state.failure) return ignore(state)
  const { handoff, epoch } = state
  const message = { type: 'refuse', handoff, epoch, reason: 'failed', text: failure } as const
  return { state: { ...state, failure }, effects: [{ type: 'send', message }] }
}

/**
 * The way back: the socket lives again before its lock goes (invariant 7). Unlike at the gateway, the lock may be silent then: no decision
 * is read from this host's rules, and no other program has the connection while it is being given.
 */
function thaw(state: OriginState, failure: string | undefined, before: OriginEffect[] = []): OriginStep {
  const refused = failure === undefined ? ignore(state) : refuse(state, failure)
  return { state: { ...refused.state, phase: 'thawing' }, effects: [...before, THAW, ...refused.effects] }
}

function unlock(from: OriginState | OriginStep, before: OriginEffect[], change: Partial<OriginState> = {}): OriginStep {
  const { state, effects } = 'effects' in from ? from : ignore(from)
  const next: OriginState = { ...state, ...change, phase: 'unlocking', attempts: state.attempts + 1 }
  return { state: next, effects: [...before, ...effects, start(state, 'unlock'), UNLOCK] }
}

function complete(from: OriginState | OriginStep, before: OriginEffect[]): OriginStep {
  const { state, effects } = 'effects' in from ? from : ignore(from)
  const next: OriginState = { ...state, phase: 'finished' }
  if (state.told) {
    // A socket that is still there has kept the stack from answering what the lock had stored.
    return { state: next, effects: [...before, ...effects, ...(state.closed ? [] : [RELEASE])] }
  }
  const reset: OriginEffect[] = state.result === 'lost' ? [{ type: 'reset' }] : []
  return { state: next, effects: [...before, ...effects, ...reset, tell(state)] }
}

function tell({ result, failure }: OriginState): OriginEffect {
  return { type: 'complete', result, ...(failure !== undefined && { failure }) }
}

/** The lock becomes the rule that sends late packets back to the gateway, which knows where they belong. */
function forward(state: OriginState, before: OriginEffect[]): OriginStep {
  return step(state, 'forwarding', [...before, start(state, 'forward'), { type: 'forward' }])
}

function step(state: OriginState, phase: OriginState['phase'], effects: OriginEffect[]): OriginStep {
  return { state: { ...state, phase }, effects }
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
