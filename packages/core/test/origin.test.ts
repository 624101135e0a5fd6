import { describe, expect, test } from 'bun:test'
import {
  DEFAULT_ORIGIN_LIMITS,
  type OriginEffect,
  type OriginEvent,
  type OriginState,
  type OriginTimer,
  originStart,
  originStep,
  type TargetMessage,
} from '../src/index.ts'
import { explore } from './support/explore.ts'

const reference = { handoff: 7, epoch: 3 }
const accept: TargetMessage = { type: 'accept', ...reference, restoreMicroseconds: 1 }
const refuse: TargetMessage = { type: 'refuse', ...reference, reason: 'unknown', text: 'no' }
const committed: TargetMessage = { type: 'committed', ...reference, adoptMicroseconds: 1 }
const messages = [accept, refuse, committed]

type Call = 'freeze' | 'snapshot' | 'thaw'

/** The world around the machine: what its effects have done so far. Invariants are checked at each effect. */
interface World {
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
function after(world: World, event: OriginEvent, change: Partial<World> = {}): World {
  const changed = { ...world, ...change }
  const { state, effects } = originStep(world.state, event)
  return effects.reduce(apply, { ...changed, state })
}

function* successors(world: World): Generator<World> {
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

const parameters = { ...reference, limits: DEFAULT_ORIGIN_LIMITS }

function begin(): World {
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

const worlds = explore([begin()], (world) => JSON.stringify(world), successors)

const anyEvents: OriginEvent[] = [
  ...(['locked', 'frozen', 'silenced', 'steered', 'thawed', 'unlocked', 'channel-lost', 'channel-up', 'ended'] as const).map(
    (type) => ({ type }),
  ),
  ...(
    [
      'lock-failed',
      'freeze-failed',
      'snapshot-failed',
      'silence-failed',
      'steer-failed',
      'thaw-failed',
      'unlock-failed',
      'send-failed',
    ] as const
  ).map((type) => ({ type, text: 'x' })),
  ...(['aborted', 'client-gone'] as const).map((type) => ({ type, text: 'x' })),
  { type: 'snapshot-taken', acknowledge: false },
  ...messages.map((message) => ({ type: 'message', message }) as const),
  ...Object.keys(DEFAULT_ORIGIN_LIMITS).map((timer) => ({ type: 'timeout', timer: timer as OriginTimer }) as const),
]

describe('origin machine, in every world that can be reached', () => {
  test('there are many, and every phase and outcome is among them', () => {
    expect(worlds.length).toBeGreaterThan(300)
    const phases = new Set<string>(worlds.map((world) => world.state.phase))
    expect([...phases].sort()).toEqual(
      [
        'committing',
        'finished',
        'freezing',
        'grace',
        'locking',
        'offering',
        'silencing',
        'snapshotting',
        'steering',
        'thawing',
        'unlocking',
      ].sort(),
    )
    expect(new Set(worlds.map((world) => world.outcome))).toEqual(
      new Set([undefined, 'handed-off', 'rolled-back', 'lost']),
    )
  })

  test('a phase that waits has a time limit, and time alone ends every handoff', () => {
    for (const world of worlds) {
      if (world.call || world.state.phase === 'finished') continue
      expect(world.timers.length).toBeGreaterThan(0)
    }
    // From anywhere, with the redirector and the target silent for ever.
    for (const start of worlds) {
      let world = start
      for (let count = 0; world.state.phase !== 'finished'; count++) {
        expect(count).toBeLessThan(20)
        const [next] = world.call ? successors(world) : []
        // `commit` sorts before `resend`: a repetition cannot keep it alive.
        const timer = world.timers[0] as OriginTimer
        world =
          next ?? after(world, { type: 'timeout', timer }, { timers: world.timers.filter((other) => other !== timer) })
      }
    }
  })

  test('what is finished has told its outcome, and left no timer and no frozen socket', () => {
    const finished = worlds.filter((world) => world.state.phase === 'finished')
    expect(finished.length).toBeGreaterThan(10)
    for (const { timers, socket, outcome } of finished) {
      expect(timers).toEqual([])
      expect(socket).not.toBe('frozen')
      expect(outcome).toBeDefined()
      expect({ 'handed-off': 'released', 'rolled-back': 'live', lost: 'reset' }[outcome ?? '']).toBe(socket)
    }
  })

  test('every event is met in every state, in order or not', () => {
    for (const { state } of worlds) {
      for (const event of anyEvents) {
        const step = originStep(state, event)
        if (state.phase === 'finished') expect(step).toEqual({ state, effects: [] })
      }
    }
  })

  test('a message of another handoff or epoch changes nothing', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        for (const wrong of [{ handoff: 8 }, { epoch: 2 }, { epoch: 4 }]) {
          const step = originStep(state, { type: 'message', message: { ...message, ...wrong } })
          expect(step.state).toBe(state)
          expect(step.effects).toEqual([])
        }
      }
    }
  })

  test('a message that comes twice changes nothing the second time', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        const once = originStep(state, { type: 'message', message }).state
        const twice = originStep(once, { type: 'message', message })
        expect(twice.state).toBe(once)
        expect(twice.effects).toEqual([])
      }
    }
  })

  test('a handoff that is committed has not failed, whatever was wanted before', () => {
    for (const { state } of worlds) {
      if (state.phase === 'committing' || state.phase === 'grace') expect(state.failure).toBeUndefined()
    }
  })

  test('the commit is sent again whenever the channel returns, with the same content', () => {
    const committing = worlds.filter((world) => world.state.phase === 'committing')
    expect(committing.length).toBeGreaterThan(0)
    for (const { state } of committing) {
      const { effects } = originStep(state, { type: 'channel-up' })
      expect(effects.filter((effect) => effect.type === 'send')).toEqual([
        { type: 'send', message: { type: 'commit', ...reference, acknowledge: true } },
      ])
    }
  })
})

test('the good case, effect by effect', () => {
  const events: OriginEvent[] = [
    { type: 'locked' },
    { type: 'frozen' },
    { type: 'snapshot-taken', acknowledge: false },
    { type: 'silenced' },
    { type: 'message', message: accept },
    { type: 'steered' },
    { type: 'message', message: committed },
    { type: 'timeout', timer: 'grace' },
  ]
  let { state, effects } = originStart(parameters)
  const names: string[] = effects.map(nameOf)
  for (const event of events) {
    ;({ state, effects } = originStep(state, event))
    names.push(...effects.map(nameOf))
  }
  expect(names.filter((name) => !name.includes('timer'))).toEqual([
    'lock',
    'freeze',
    'snapshot',
    'silence',
    'offer',
    'steer',
    'send commit',
    'complete handed-off',
    'release',
  ])
})

function nameOf(effect: OriginEffect): string {
  if (effect.type === 'send') return `send ${effect.message.type}`
  return effect.type === 'complete' ? `complete ${effect.result}` : effect.type
}
