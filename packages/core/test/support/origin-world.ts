import { expect } from 'bun:test'
import {
  DEFAULT_ORIGIN_LIMITS,
  type OriginEffect,
  type OriginEvent,
  type OriginState,
  type OriginTimer,
  originStart,
  originStep,
  type ToOriginMessage,
} from '../../src/index.ts'

export const reference = { handoff: 7, epoch: 3 }
export const abort: ToOriginMessage = { type: 'abort', ...reference }
export const release: ToOriginMessage = { type: 'release', ...reference }
export const reset: ToOriginMessage = { type: 'reset', ...reference }
export const messages = [abort, release, reset]

/** The world around the machine: what its effects have done so far. Invariants are checked at each effect. */
export interface World {
  readonly state: OriginState
  readonly rule: 'none' | 'hold' | 'silent' | 'forward'
  readonly socket: 'live' | 'frozen' | 'released' | 'reset'
  /** Puts that the redirector has not answered, removals likewise. */
  readonly putting: readonly ('hold' | 'silent' | 'forward')[]
  readonly removals: number
  /** A synchronous call whose answer must be the next event. */
  readonly call: 'freeze' | 'snapshot' | 'thaw' | undefined
  readonly timers: readonly OriginTimer[]
  /** The gateway has the offer, and what it has decided: the first decision counts. */
  readonly offered: boolean
  readonly decision: ToOriginMessage['type'] | undefined
  readonly refused: boolean
  readonly outcome: string | undefined
}

function apply(world: World, effect: OriginEffect): World {
  const { state, rule, socket } = world
  switch (effect.type) {
    case 'lock':
      return { ...world, putting: [...world.putting, 'hold'] }
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
      expect([rule, socket, world.refused]).toEqual(['silent', 'frozen', false])
      return { ...world, offered: true }
    case 'forward':
      // The connection lives elsewhere, or nobody has said where.
      expect([socket, ['release', undefined].includes(world.decision)]).toEqual(['frozen', true])
      return { ...world, putting: [...world.putting, 'forward'] }
    case 'thaw':
      // What was offered may live elsewhere: it goes on here only when the gateway says so.
      expect(socket).toBe('frozen')
      if (world.offered) expect(world.decision).toBe('abort')
      return { ...world, call: 'thaw' }
    case 'unlock':
      // Invariant 7: the lock goes when the socket lives, or is closed, or is to be closed with an RST, which the lock would swallow.
      if (state.result === 'kept') expect(socket).toBe('live')
      if (state.result === 'given') expect(['released', 'frozen']).toContain(socket)
      return { ...world, removals: Math.min(world.removals + 1, 2) }
    case 'release':
      // Never what goes on here.
      expect([socket, state.result !== 'kept']).toEqual(['frozen', true])
      return { ...world, socket: 'released' }
    case 'reset':
      expect(['frozen', 'live']).toContain(socket)
      expect([state.result, world.decision === 'release']).toEqual(['lost', false])
      return { ...world, socket: 'reset' }
    case 'send':
      expect([world.offered, world.refused]).toEqual([false, false])
      return { ...world, refused: true }
    case 'start-timer':
      expect(effect.milliseconds).toBeGreaterThan(0)
      return { ...world, timers: [...new Set([...world.timers, effect.timer])].sort() }
    case 'cancel-timer':
      return { ...world, timers: world.timers.filter((timer) => timer !== effect.timer) }
    case 'complete':
      expect(world.outcome).toBeUndefined()
      expect(effect.failure === undefined).toBe(effect.result === 'given')
      return { ...world, outcome: effect.result }
    default:
      return world
  }
}

/** The world after the event, which must be one that can happen in it. */
export function after(world: World, event: OriginEvent, change: Partial<World> = {}): World {
  const { state, effects } = originStep(world.state, event)
  return effects.reduce(apply, { ...world, ...change, state })
}

export function* successors(world: World): Generator<World> {
  const done = { call: undefined }
  if (world.call === 'freeze') {
    yield after(world, { type: 'frozen' }, { ...done, socket: 'frozen' })
    yield after(world, { type: 'freeze-failed', text: 'x' }, done)
    return
  }
  if (world.call === 'snapshot') {
    yield after(world, { type: 'snapshot-taken' }, done)
    yield after(world, { type: 'snapshot-failed', text: 'x' }, done)
    return
  }
  if (world.call === 'thaw') {
    yield after(world, { type: 'thawed' }, { ...done, socket: 'live' })
    yield after(world, { type: 'thaw-failed', text: 'x' }, done)
    return
  }
  if (world.state.phase === 'finished') return
  yield* redirectorAnswers(world)
  yield* decisions(world)
  yield after(world, { type: 'superseded' })
  // The driver says so of what the gateway has not got.
  yield after(world, { type: 'aborted', text: 'x' })
  for (const timer of world.timers) {
    yield after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
  }
}

/** The gateway decides on what it was offered, and says it once; before that it can only give up, and later nobody waits for it. */
function* decisions(world: World): Generator<World> {
  for (const message of messages) {
    const early = !world.offered && message.type !== 'abort'
    const changed = world.decision !== undefined && world.decision !== message.type
    if (early || changed) continue
    const decides = world.state.phase === 'offered'
    yield after(world, { type: 'message', message }, decides ? { decision: message.type } : {})
  }
}

const DONE = { hold: 'locked', silent: 'silenced', forward: 'forwarded' } as const
const FAILED = { hold: 'lock-failed', silent: 'silence-failed', forward: 'forward-failed' } as const

function* redirectorAnswers(world: World): Generator<World> {
  const [put] = world.putting
  if (put) {
    const putting = world.putting.slice(1)
    yield after(world, { type: DONE[put] }, { putting, rule: put })
    yield after(world, { type: FAILED[put], text: 'x' }, { putting })
    return
  }
  if (world.removals > 0) {
    const removals = world.removals - 1
    yield after(world, { type: 'unlocked' }, { removals, rule: 'none' })
    yield after(world, { type: 'unlock-failed', text: 'x' }, { removals })
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
    offered: false,
    decision: undefined,
    refused: false,
    outcome: undefined,
  }
  return effects.reduce(apply, world)
}
