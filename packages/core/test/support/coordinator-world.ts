import { expect } from 'bun:test'
import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type CoordinatorTimer,
  coordinatorStart,
  coordinatorStep,
  DEFAULT_COORDINATOR_LIMITS,
  type FromTargetMessage,
} from '../../src/index.ts'

export const reference = { handoff: 7, epoch: 3 }
export const accept: FromTargetMessage = { type: 'accept', ...reference, restoreMicroseconds: 1 }
export const refuse: FromTargetMessage = { type: 'refuse', ...reference, reason: 'unknown', text: 'no' }
export const committed: FromTargetMessage = { type: 'committed', ...reference, adoptMicroseconds: 1 }
export const messages = [accept, refuse, committed]

type Call = 'freeze' | 'snapshot' | 'thaw'

/**
 * The world around the machine: what its effects have done so far. Invariants are checked at each effect. When the origin is a server,
 * `socket` is what it has been ordered to do, and `back` is the rule that steers to it.
 */
export interface World {
  readonly state: CoordinatorState
  readonly rule: 'none' | 'hold' | 'silent' | 'steer' | 'back'
  readonly socket: 'live' | 'frozen' | 'released' | 'reset'
  /** The server that has the connection was asked for it. */
  readonly taken: boolean
  /** Puts that the redirector has not answered, removals likewise. */
  readonly putting: readonly ('hold' | 'silent' | 'steer')[]
  readonly undoing: readonly ('hold' | 'none' | 'back')[]
  /** A synchronous call whose answer must be the next event. */
  readonly call: Call | undefined
  readonly timers: readonly CoordinatorTimer[]
  readonly accepted: boolean
  readonly offered: boolean
  readonly aborted: boolean
  readonly wasSteered: boolean
  readonly outcome: string | undefined
}

function apply(world: World, effect: CoordinatorEffect): World {
  const { state, rule, socket } = world
  const { remote } = state
  const locked = remote ? 'hold' : 'silent'
  switch (effect.type) {
    case 'lock':
      return { ...world, putting: [...world.putting, 'hold'] }
    case 'steer':
      expect([rule, socket, world.accepted]).toEqual([locked, 'frozen', true])
      return { ...world, putting: [...world.putting, 'steer'] }
    case 'take':
      expect([rule, socket, remote]).toEqual(['hold', 'live', true])
      return { ...world, taken: true }
    case 'freeze':
      // Invariant 1: a socket falls silent only behind a lock.
      expect([rule, socket, remote]).toEqual(['hold', 'live', false])
      return { ...world, call: 'freeze' }
    case 'snapshot':
      expect(socket).toBe('frozen')
      return { ...world, call: 'snapshot' }
    case 'silence':
      expect([rule, socket]).toEqual(['hold', 'frozen'])
      return { ...world, putting: [...world.putting, 'silent'] }
    case 'offer':
      // Invariant 5: what the frozen socket says from here on is not heard.
      expect([rule, socket]).toEqual([locked, 'frozen'])
      return { ...world, offered: true }
    case 'thaw':
      // After the commit there is no way back. A server that was asked, and has not offered, is told too.
      expect([remote && world.taken ? 'frozen' : socket, world.wasSteered]).toEqual(['frozen', false])
      // Invariant 8: who finds this rule does not commit what was offered.
      if (world.offered) expect(rule).toBe('hold')
      return { ...world, call: 'thaw' }
    case 'unsilence':
      expect([socket, remote, world.offered, world.wasSteered]).toEqual(['frozen', false, true, false])
      return { ...world, undoing: [...world.undoing, 'hold' as const].slice(-2) }
    case 'unlock':
      // Invariant 7: the lock goes only when the socket lives again, or when the connection is given up.
      if (!state.lost) expect([socket, remote]).toEqual(['live', false])
      return { ...world, undoing: [...world.undoing, 'none' as const].slice(-2) }
    case 'return':
      expect([state.lost, socket, remote, world.wasSteered]).toEqual([false, 'live', true, false])
      return { ...world, undoing: [...world.undoing, 'back' as const].slice(-2) }
    case 'release':
      // Invariant 5, and the end of it: only after `committed`, behind the steer rule; a server has its own grace period.
      expect([rule, socket, world.outcome]).toEqual(['steer', 'frozen', remote ? undefined : 'handed-off'])
      return { ...world, socket: 'released' }
    case 'reset':
      expect(state.lost).toBe(true)
      return { ...world, socket: 'reset' }
    case 'send':
      if (effect.message.type === 'commit') expect(world.wasSteered).toBe(true)
      else expect(world.offered).toBe(true)
      return effect.message.type === 'abort' ? { ...world, aborted: true } : world
    case 'start-timer':
      expect(effect.milliseconds).toBeGreaterThan(0)
      return { ...world, timers: [...new Set([...world.timers, effect.timer])].sort() }
    case 'cancel-timer':
      return { ...world, timers: world.timers.filter((timer) => timer !== effect.timer) }
    case 'complete':
      expect(world.outcome).toBeUndefined()
      checkOutcome(world, effect)
      return { ...world, outcome: effect.result }
    default:
      return world
  }
}

function checkOutcome(world: World, { result, failure }: Extract<CoordinatorEffect, { type: 'complete' }>): void {
  expect(failure === undefined).toBe(result === 'handed-off')
  const { remote } = world.state
  if (result === 'handed-off') expect([world.rule, world.socket]).toEqual(['steer', remote ? 'released' : 'frozen'])
  if (result === 'rolled-back') {
    expect([world.rule, world.socket, world.wasSteered]).toEqual([remote ? 'back' : 'none', 'live', false])
    // The target must not keep what it was offered.
    expect(world.aborted).toBe(world.offered)
  }
  if (result === 'lost') expect(world.socket).toBe('reset')
}

/** The world after the event, which must be one that can happen in it. */
export function after(world: World, event: CoordinatorEvent, change: Partial<World> = {}): World {
  const changed = { ...world, ...change }
  const { state, effects } = coordinatorStep(world.state, event)
  return effects.reduce(apply, { ...changed, state })
}

export function* successors(world: World): Generator<World> {
  const done = { call: undefined }
  if (world.call === 'freeze') {
    yield after(world, { type: 'frozen' }, { ...done, socket: 'frozen' })
    yield after(world, { type: 'freeze-failed', text: '' }, done)
    return
  }
  if (world.call === 'snapshot') {
    yield after(world, { type: 'snapshot-taken', acknowledge: true }, done)
    yield after(world, { type: 'snapshot-failed', text: '' }, done)
    return
  }
  if (world.call === 'thaw') {
    yield after(world, { type: 'thawed' }, { ...done, socket: 'live' })
    yield after(world, { type: 'thaw-failed', text: '' }, done)
    return
  }
  if (world.state.phase === 'finished') return
  yield* redirectorAnswers(world)
  for (const message of messages) {
    yield after(world, { type: 'message', message }, { accepted: world.accepted || message.type === 'accept' })
  }
  for (const type of ['channel-lost', 'channel-up', 'ended', 'origin-lost'] as const) yield after(world, { type })
  if (world.taken) yield* originAnswers(world)
  for (const type of ['aborted', 'client-gone', 'target-lost'] as const) yield after(world, { type, text: '' })
  if (world.offered) yield after(world, { type: 'send-failed', text: '' })
  for (const timer of world.timers) {
    yield after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
  }
}

/** The driver lets an offer through only while it is waited for. */
function* originAnswers(world: World): Generator<World> {
  if (world.state.phase === 'taking') yield after(world, { type: 'offered', acknowledge: true }, { socket: 'frozen' })
  if (world.state.phase === 'taking') yield after(world, { type: 'take-failed', text: '' })
  if (!world.offered) yield after(world, { type: 'take-refused', text: '' })
}

const DONE = { hold: 'locked', silent: 'silenced', steer: 'steered' } as const
const FAILED = { hold: 'lock-failed', silent: 'silence-failed', steer: 'steer-failed' } as const

const UNSILENCED = ['unsilenced', 'unsilence-failed'] as const
const UNLOCKED = ['unlocked', 'unlock-failed'] as const

function* redirectorAnswers(world: World): Generator<World> {
  const [put] = world.putting
  if (put) {
    const putting = world.putting.slice(1)
    const wasSteered = world.wasSteered || put === 'steer'
    yield after(world, { type: DONE[put] }, { putting, rule: put, wasSteered })
    yield after(world, { type: FAILED[put], text: '' }, { putting })
    return
  }
  const [rule] = world.undoing
  if (rule) {
    const undoing = world.undoing.slice(1)
    const [done, failed] = rule === 'hold' ? UNSILENCED : UNLOCKED
    yield after(world, { type: done }, { undoing, rule })
    yield after(world, { type: failed, text: '' }, { undoing })
  }
}

export const parameters = { ...reference, limits: DEFAULT_COORDINATOR_LIMITS, remote: false }

export function begin(remote: boolean): World {
  const { state, effects } = coordinatorStart({ ...parameters, remote })
  const world: World = {
    state,
    rule: remote ? 'back' : 'none',
    socket: 'live',
    taken: false,
    putting: [],
    undoing: [],
    call: undefined,
    timers: [],
    accepted: false,
    offered: false,
    aborted: false,
    wasSteered: false,
    outcome: undefined,
  }
  return effects.reduce(apply, world)
}
