import { describe, expect, test } from 'bun:test'
import {
  DEFAULT_TARGET_LIMITS,
  isLast,
  type OriginMessage,
  type TargetEffect,
  type TargetEvent,
  type TargetState,
  type TargetTimer,
  targetStart,
  targetStep,
} from '../src/index.ts'
import { explore } from './support/explore.ts'

const reference = { handoff: 7, epoch: 3 }
const offer: OriginMessage = { type: 'offer', ...reference, snapshot: new Uint8Array(), application: new Uint8Array() }
const commit: OriginMessage = { type: 'commit', ...reference, acknowledge: false }
const abort: OriginMessage = { type: 'abort', ...reference }
const messages = [offer, commit, abort]

/** The world around the machine. Invariants are checked at each effect. */
interface World {
  readonly state: TargetState
  readonly hold: boolean
  readonly socket: 'none' | 'restored' | 'owned' | 'discarded' | 'reset'
  readonly putting: boolean
  readonly removals: number
  /** A synchronous call whose answer must be the next event. */
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

function after(world: World, event: TargetEvent, change: Partial<World> = {}): World {
  const { state, effects } = targetStep(world.state, event)
  return effects.reduce(apply, { ...world, ...change, state })
}

function* successors(world: World): Generator<World> {
  const done = { call: undefined }
  if (world.call === 'validate') {
    yield after(world, { type: 'valid', acknowledge: true }, done)
    yield after(world, { type: 'valid', acknowledge: false }, done)
    yield after(world, { type: 'invalid', reason: 'invalid', text: '' }, done)
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
    yield after(world, { type: 'adopted', adoptMicroseconds: 6 }, { adopting: false, socket: 'owned' })
    yield after(world, { type: 'adopt-failed', text: '' }, { adopting: false })
  }
  for (const timer of world.timers) {
    yield after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
  }
}

const parameters = { ...reference, limits: DEFAULT_TARGET_LIMITS }

function begin(): World {
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

const worlds = explore([begin()], (world) => JSON.stringify(world), successors)

const anyEvents: TargetEvent[] = [
  { type: 'valid', acknowledge: true },
  { type: 'invalid', reason: 'busy', text: '' },
  ...(['locked', 'unlocked', 'withdrawn'] as const).map((type) => ({ type })),
  ...(['lock-failed', 'restore-failed', 'unlock-failed', 'adopt-failed'] as const).map((type) => ({ type, text: '' })),
  { type: 'restored', restoreMicroseconds: 1 },
  { type: 'adopted', adoptMicroseconds: 1 },
  ...messages.map((message) => ({ type: 'message', message }) as const),
  ...Object.keys(DEFAULT_TARGET_LIMITS).map((timer) => ({ type: 'timeout', timer: timer as TargetTimer }) as const),
]

/** What is sent in answer to a message in this state. */
function answer(state: TargetState, message: OriginMessage): string[] {
  const { effects } = targetStep(state, { type: 'message', message })
  return effects.map((effect) => (effect.type === 'send' ? describeAnswer(effect) : effect.type))
}

function describeAnswer({ message }: Extract<TargetEffect, { type: 'send' }>): string {
  return message.type === 'refuse' ? `refuse ${message.reason}` : message.type
}

describe('target machine, in every world that can be reached', () => {
  test('every phase is among them', () => {
    const phases = new Set<string>(worlds.map((world) => world.state.phase))
    const all = ['validating', 'locking', 'restoring', 'prepared', 'withdrawing', 'unlocking', 'adopting']
    expect([...phases].sort()).toEqual([...all, 'owned', 'failed', 'refused', 'discarded'].sort())
  })

  test('a phase that waits has a time limit, and time alone ends every handoff', () => {
    for (const start of worlds) {
      let world = start
      for (let count = 0; !isLast(world.state); count++) {
        expect(count).toBeLessThan(20)
        const [next] = world.call ? successors(world) : []
        const [timer] = world.timers
        if (!next && !timer) throw new Error(`no time limit in phase ${world.state.phase}`)
        const timers = world.timers.filter((other) => other !== timer)
        world = next ?? after(world, { type: 'timeout', timer: timer as TargetTimer }, { timers })
      }
    }
  })

  test('what is over has no timer left, and its socket is owned, closed, or never was', () => {
    for (const { state, timers, socket } of worlds.filter((world) => isLast(world.state))) {
      expect(timers).toEqual([])
      const allowed = { owned: ['owned'], failed: ['reset'], refused: ['none'], discarded: ['none', 'discarded'] }
      expect(allowed[state.phase as keyof typeof allowed]).toContain(socket)
    }
  })

  test('every event is met in every state, in order or not', () => {
    for (const { state } of worlds) {
      for (const event of anyEvents) {
        const step = targetStep(state, event)
        if (!isLast(state)) continue
        expect(step.state).toBe(state)
        expect(step.effects.every((effect) => effect.type === 'send')).toBe(true)
      }
    }
  })

  test('a message of another handoff or epoch changes nothing', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        for (const wrong of [{ handoff: 8 }, { epoch: 2 }, { epoch: 4 }]) {
          const step = targetStep(state, { type: 'message', message: { ...message, ...wrong } })
          expect(step.state).toBe(state)
          expect(step.effects).toEqual([])
        }
      }
    }
  })

  test('a message that comes twice changes nothing the second time', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        const once = targetStep(state, { type: 'message', message }).state
        const twice = targetStep(once, { type: 'message', message })
        expect(twice.state).toBe(once)
        expect(twice.effects.every((effect) => effect.type === 'send')).toBe(true)
      }
    }
  })

  test('duplicates are answered as the first was', () => {
    const expected: Partial<Record<TargetState['phase'], [string[], string[]]>> = {
      locking: [[], []],
      prepared: [['accept'], ['cancel-timer', 'start-timer', 'unlock']],
      withdrawing: [[], ['refuse unknown']],
      unlocking: [[], []],
      adopting: [[], []],
      owned: [[], ['committed']],
      failed: [[], ['refuse failed']],
      discarded: [[], ['refuse unknown']],
    }
    for (const { state } of worlds) {
      const pair = expected[state.phase]
      if (pair) expect([state.phase, answer(state, offer), answer(state, commit)]).toEqual([state.phase, ...pair])
      if (state.phase === 'refused')
        expect([answer(state, offer), answer(state, commit)]).toEqual([
          [`refuse ${state.refusal?.reason}`],
          ['refuse unknown'],
        ])
    }
  })

  test('after the commit an abort means nothing', () => {
    const late = worlds.filter((world) => world.committed)
    expect(late.length).toBeGreaterThan(5)
    for (const { state } of late)
      expect(targetStep(state, { type: 'message', message: abort })).toEqual({ state, effects: [] })
  })
})

test.each([
  [true, false],
  [false, true],
  [false, false],
])('the good case, effect by effect; acknowledge: snapshot %p, commit %p', (inSnapshot, inCommit) => {
  const events: TargetEvent[] = [
    { type: 'valid', acknowledge: inSnapshot },
    { type: 'locked' },
    { type: 'restored', restoreMicroseconds: 42 },
    { type: 'message', message: { ...commit, acknowledge: inCommit } as OriginMessage },
    { type: 'unlocked' },
    { type: 'adopted', adoptMicroseconds: 43 },
  ]
  let { state, effects } = targetStart(parameters)
  const all = [...effects]
  for (const event of events) {
    ;({ state, effects } = targetStep(state, event))
    all.push(...effects)
  }
  const names: string[] = all
    .filter((effect) => !effect.type.includes('timer'))
    .map((one) => (one.type === 'send' ? one.message.type : one.type))
  const acknowledge = inSnapshot || inCommit ? ['acknowledge'] : []
  expect(names).toEqual(['validate', 'lock', 'restore', 'accept', 'unlock', ...acknowledge, 'adopt', 'committed'])
  expect(state).toMatchObject({ phase: 'owned', restoreMicroseconds: 42, adoptMicroseconds: 43 })
})
