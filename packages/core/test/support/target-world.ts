import { expect } from 'bun:test'
import {
  DEFAULT_TARGET_LIMITS,
  isLast,
  type TargetEffect,
  type TargetEvent,
  type TargetState,
  type TargetTimer,
  type ToTargetMessage,
  targetStart,
  targetStep,
} from '../../src/index.ts'

export const reference = { handoff: 7, epoch: 3 }
export const offer: ToTargetMessage = {
  type: 'offer',
  ...reference,
  snapshot: new Uint8Array(),
  application: new Uint8Array(),
}
export const commit: ToTargetMessage = { type: 'commit', ...reference, acknowledge: false }
export const abort: ToTargetMessage = { type: 'abort', ...reference }
export const messages = [offer, commit, abort]

/** The world around the machine. Invariants are checked at each effect. */
export interface World {
  readonly state: TargetState
  readonly hold: boolean
  readonly socket: 'none' | 'restored' | 'owned' | 'revoked' | 'discarded' | 'reset'
  readonly putting: boolean
  readonly removals: number
  /** A call whose answer is waited for; that of `restore` is the next event. */
  readonly call: 'validate' | 'restore' | undefined
  readonly adopting: boolean
  readonly timers: readonly TargetTimer[]
  readonly accepted: boolean
  readonly committed: boolean
  readonly acknowledged: boolean
}

function apply(world: World, effect: TargetEffect): World {
  const { hold, socket } = world
  switch (effect.type) {
    case 'validate':
      return { ...world, call: 'validate' }
    case 'lock':
      return { ...world, putting: true }
    case 'restore':
      // Invariant 3: the rule exists before the socket can speak.
      expect([hold, socket]).toEqual([true, 'none'])
      return { ...world, call: 'restore' }
    case 'unlock':
      // Invariants 1, 3 and 7: behind the lock is nothing, or a socket that has been committed.
      if (!world.committed) expect(['none', 'discarded']).toContain(socket)
      return { ...world, removals: Math.min(world.removals + 1, 2) }
    case 'acknowledge':
      expect([hold, socket, world.committed]).toEqual([false, 'restored', true])
      return { ...world, acknowledged: true }
    case 'adopt':
      expect([hold, socket, world.committed]).toEqual([false, 'restored', true])
      expect(world.acknowledged).toBe(world.state.acknowledge)
      return { ...world, adopting: true }
    case 'discard':
      expect([socket, world.committed]).toEqual(['restored', false])
      return { ...world, socket: 'discarded' }
    case 'reset':
      expect([socket, world.committed]).toEqual(['restored', true])
      return { ...world, socket: 'reset' }
    case 'revoke':
      // The application is told once, and only of what it has.
      expect(socket).toBe('owned')
      return { ...world, socket: 'revoked' }
    case 'send':
      return checkAnswer(world, effect.message.type)
    case 'start-timer':
      return { ...world, timers: [...new Set([...world.timers, effect.timer])].sort() }
    case 'cancel-timer':
      return { ...world, timers: world.timers.filter((timer) => timer !== effect.timer) }
    default:
      return world
  }
}

function checkAnswer(world: World, type: string): World {
  if (type === 'committed') expect(world.socket).toBe('owned')
  if (type !== 'accept') return world
  expect([world.hold, world.socket]).toEqual([true, 'restored'])
  return { ...world, accepted: true }
}

export function after(world: World, event: TargetEvent, change: Partial<World> = {}): World {
  const { state, effects } = targetStep(world.state, event)
  return effects.reduce(apply, { ...world, ...change, state })
}

export function* successors(world: World): Generator<World> {
  const done = { call: undefined }
  if (world.call === 'validate') {
    yield after(world, { type: 'valid', acknowledge: true }, done)
    yield after(world, { type: 'valid', acknowledge: false }, done)
    yield after(world, { type: 'invalid', reason: 'invalid', text: '' }, done)
    // It may take a while: until what is left of an earlier handoff has made room.
    yield after(world, { type: 'message', message: abort })
    yield after(world, { type: 'withdrawn' })
    return
  }
  if (world.call === 'restore') {
    yield after(world, { type: 'restored', restoreMicroseconds: 5 }, { ...done, socket: 'restored' })
    yield after(world, { type: 'restore-failed', text: '' }, done)
    return
  }
  for (const message of messages) {
    const committed = world.committed || (message === commit && world.state.phase === 'prepared')
    yield after(world, { type: 'message', message }, { committed })
  }
  if (isLast(world.state)) return
  yield after(world, { type: 'withdrawn' })
  if (world.putting) {
    yield after(world, { type: 'locked' }, { putting: false, hold: true })
    yield after(world, { type: 'lock-failed', text: '' }, { putting: false })
  } else if (world.removals > 0) {
    const removals = world.removals - 1
    yield after(world, { type: 'unlocked' }, { removals, hold: false })
    yield after(world, { type: 'unlock-failed', text: '' }, { removals })
  }
  if (world.adopting) {
    const socket = world.socket === 'restored' ? 'owned' : world.socket
    yield after(world, { type: 'adopted', adoptMicroseconds: 6 }, { adopting: false, socket })
    yield after(world, { type: 'adopt-failed', text: '' }, { adopting: false })
  }
  for (const timer of world.timers) {
    yield after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
  }
}

export const parameters = { ...reference, limits: DEFAULT_TARGET_LIMITS }

export function begin(): World {
  const { state, effects } = targetStart(parameters)
  const world: World = {
    state,
    hold: false,
    socket: 'none',
    putting: false,
    removals: 0,
    call: undefined,
    adopting: false,
    timers: [],
    accepted: false,
    committed: false,
    acknowledged: false,
  }
  return effects.reduce(apply, world)
}
