import { expect } from 'bun:test'
import {
  DEFAULT_ORIGIN_LIMITS,
  type OriginEffect,
  type OriginEvent,
  type OriginState,
  type OriginTimer,
  originStart,
  originStep,
  type TargetMessage,
} from '../../src/index.ts'

export const reference = { handoff: 7, epoch: 3 }
export const accept: TargetMessage = { type: 'accept', ...reference, restoreMicroseconds: 1 }
export const refuse: TargetMessage = { type: 'refuse', ...reference, reason: 'unknown', text: 'no' }
export const committed: TargetMessage = { type: 'committed', ...reference, adoptMicroseconds: 1 }
export const messages = [accept, refuse, committed]

type Call = 'freeze' | 'snapshot' | 'thaw'

/** The world around the machine: what its effects have done so far. Invariants are checked at each effect. */
export interface World {
  readonly state: OriginState
  readonly rule: 'none' | 'hold' | 'silent' | 'steer'
  readonly socket: 'live' | 'frozen' | 'released' | 'reset'
  /** Puts that the redirector has not answered, removals likewise. */
  readonly putting: readonly ('hold' | 'silent' | 'steer')[]
  readonly removals: number
  /** A synchronous call whose answer must be the next event. */
  readonly call: Call | undefined
  readonly timers: readonly OriginTimer[]
  readonly accepted: boolean
  readonly offered: boolean
  readonly aborted: boolean
  readonly wasSteered: boolean
  readonly outcome: string | undefined
}

function apply(world: World, effect: OriginEffect): World {
  const { state, rule, socket } = world
  switch (effect.type) {
    case 'lock':
      return { ...world, putting: [...world.putting, 'hold'] }
    case 'steer':
      expect([rule, socket, world.accepted]).toEqual(['silent', 'frozen', true])
      return { ...world, putting: [...world.putting, 'steer'] }
    case 'freeze':
      // Invariant 1: a socket falls silent only behind a lock.
      expect([rule, socket]).toEqual(['hold', 'live'])
      return { ...world, call: 'freeze' }
    case 'snapshot':
      expect(socket).toBe('frozen')
      return { ...world, call: 'snapshot' }
    case 'silence':
      expect([rule, socket]).toEqual(['hold', 'frozen'])
      return { ...world, putting: [...world.putting, 'silent'] }
    case 'offer':
      // Invariant 5: what the frozen socket says from here on is not heard.
      expect([rule, socket]).toEqual(['silent', 'frozen'])
      return { ...world, offered: true }
    case 'thaw':
      // After the commit there is no way back.
      expect([socket, world.wasSteered]).toEqual(['frozen', false])
      return { ...world, call: 'thaw' }
    case 'unlock':
      // Invariant 7: the lock goes only when the socket lives again, or when the connection is given up.
      if (!state.lost) expect(socket).toBe('live')
      return { ...world, removals: Math.min(world.removals + 1, 2) }
    case 'release':
      // Invariant 5, and the end of it: only after `committed`, behind the steer rule.
      expect([rule, socket, world.outcome]).toEqual(['steer', 'frozen', 'handed-off'])
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

function checkOutcome(world: World, { result, failure }: Extract<OriginEffect, { type: 'complete' }>): void {
  expect(failure === undefined).toBe(result === 'handed-off')
  if (result === 'handed-off') expect([world.rule, world.socket]).toEqual(['steer', 'frozen'])
  if (result === 'rolled-back') {
    expect([world.rule, world.socket, world.wasSteered]).toEqual(['none', 'live', false])
    // The target must not keep what it was offered.
    expect(world.aborted).toBe(world.offered)
  }
  if (result === 'lost') expect(world.socket).toBe('reset')
}

/** The world after the event, which must be one that can happen in it. */
export function after(world: World, event: OriginEvent, change: Partial<World> = {}): World {
  const changed = { ...world, ...change }
  const { state, effects } = originStep(world.state, event)
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
  for (const type of ['channel-lost', 'channel-up', 'ended'] as const) yield after(world, { type })
  for (const type of ['aborted', 'client-gone'] as const) yield after(world, { type, text: '' })
  if (world.offered) yield after(world, { type: 'send-failed', text: '' })
  for (const timer of world.timers) {
    yield after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
  }
}

const DONE = { hold: 'locked', silent: 'silenced', steer: 'steered' } as const
const FAILED = { hold: 'lock-failed', silent: 'silence-failed', steer: 'steer-failed' } as const

function* redirectorAnswers(world: World): Generator<World> {
  const [put] = world.putting
  if (put) {
    const putting = world.putting.slice(1)
    const wasSteered = world.wasSteered || put === 'steer'
    yield after(world, { type: DONE[put] }, { putting, rule: put, wasSteered })
    yield after(world, { type: FAILED[put], text: '' }, { putting })
    return
  }
  if (world.removals > 0) {
    const removals = world.removals - 1
    yield after(world, { type: 'unlocked' }, { removals, rule: 'none' })
    yield after(world, { type: 'unlock-failed', text: '' }, { removals })
  }
}

export const parameters = { ...reference, limits: DEFAULT_ORIGIN_LIMITS }

export function begin(): World {
  const { state, effects } = originStart(parameters)
  const world: World = {
    state,
    rule: 'none',
    socket: 'live',
    putting: [],
    removals: 0,
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
