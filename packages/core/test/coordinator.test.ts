import { describe, expect, test } from 'bun:test'
import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorTimer,
  coordinatorStart,
  coordinatorStep,
  DEFAULT_COORDINATOR_LIMITS,
  MacAddress,
  type Rule,
  reconcile,
} from '../src/index.ts'
import {
  accept,
  after,
  begin,
  committed,
  messages,
  parameters,
  reference,
  refuse,
  successors,
  type World,
} from './support/coordinator-world.ts'
import { explore } from './support/explore.ts'
import { flowNumber } from './support/scene.ts'

const flow = flowNumber(1)
const steerTo = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:02') } as const

const worlds = explore([begin(false), begin(true)], (world) => JSON.stringify(world), successors)

const anyEvents: CoordinatorEvent[] = [
  ...(
    [
      'locked',
      'frozen',
      'silenced',
      'steered',
      'unsilenced',
      'thawed',
      'unlocked',
      'channel-lost',
      'channel-up',
      'origin-lost',
      'ended',
    ] as const
  ).map((type) => ({ type })),
  ...(
    [
      'lock-failed',
      'freeze-failed',
      'snapshot-failed',
      'silence-failed',
      'steer-failed',
      'unsilence-failed',
      'thaw-failed',
      'unlock-failed',
      'send-failed',
      'take-failed',
      'take-refused',
      'target-lost',
    ] as const
  ).map((type) => ({ type, text: 'x' })),
  ...(['aborted', 'client-gone'] as const).map((type) => ({ type, text: 'x' })),
  { type: 'snapshot-taken', acknowledge: false },
  { type: 'offered', acknowledge: false },
  ...messages.map((message) => ({ type: 'message', message }) as const),
  ...Object.keys(DEFAULT_COORDINATOR_LIMITS).map(
    (timer) => ({ type: 'timeout', timer: timer as CoordinatorTimer }) as const,
  ),
]

describe('coordinator machine, in every world that can be reached', () => {
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
        'taking',
        'thawing',
        'unlocking',
        'unsilencing',
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
        const timer = world.timers[0] as CoordinatorTimer
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
        const step = coordinatorStep(state, event)
        if (state.phase === 'finished') expect(step).toEqual({ state, effects: [] })
      }
    }
  })

  test('a message of another handoff or epoch changes nothing', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        for (const wrong of [{ handoff: 8 }, { epoch: 2 }, { epoch: 4 }]) {
          const step = coordinatorStep(state, { type: 'message', message: { ...message, ...wrong } })
          expect(step.state).toBe(state)
          expect(step.effects).toEqual([])
        }
      }
    }
  })

  test('a message that comes twice changes nothing the second time', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        const once = coordinatorStep(state, { type: 'message', message }).state
        const twice = coordinatorStep(once, { type: 'message', message })
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

  test('should the process die, the next one commits nothing of which the origin may have gone on', () => {
    let committed = 0
    for (const world of worlds.filter(({ state, offered }) => offered && !state.remote)) {
      // What the kernel is carrying out may be finished there.
      const pending = [...world.putting, ...world.undoing] as const
      for (const rule of [world.rule, ...pending].flatMap(ruleOf)) {
        const connection = { flow, ...reference, state: 'prepared' } as const
        const reports = [{ server: 'B', connection }]
        const { messages } = reconcile(rule, reports, { complete: true, serverOf: () => 'B' })
        if (messages[0]?.message.type !== 'commit') continue
        committed += 1
        // Frozen, it is closed without a word by whoever has it.
        expect(world.socket).not.toBe('live')
      }
    }
    expect(committed).toBeGreaterThan(10)
  })

  test('the commit is sent again whenever the channel returns, with the same content', () => {
    const committing = worlds.filter((world) => world.state.phase === 'committing')
    expect(committing.length).toBeGreaterThan(0)
    for (const { state } of committing) {
      const { effects } = coordinatorStep(state, { type: 'channel-up' })
      expect(effects.filter((effect) => effect.type === 'send')).toEqual([
        { type: 'send', message: { type: 'commit', ...reference, acknowledge: true } },
      ])
    }
  })
})

/** The names of the effects that a sequence of events has. */
function effectsOf(remote: boolean, events: CoordinatorEvent[]): string[] {
  let { state, effects } = coordinatorStart({ ...parameters, remote })
  const names: string[] = effects.map(nameOf)
  for (const event of events) {
    ;({ state, effects } = coordinatorStep(state, event))
    names.push(...effects.map(nameOf))
  }
  return names.filter((name) => !name.includes('timer'))
}

test('the good case, effect by effect', () => {
  const names = effectsOf(false, [
    { type: 'locked' },
    { type: 'frozen' },
    { type: 'snapshot-taken', acknowledge: false },
    { type: 'silenced' },
    { type: 'message', message: accept },
    { type: 'steered' },
    { type: 'message', message: committed },
    { type: 'timeout', timer: 'grace' },
  ])
  const before = ['lock', 'freeze', 'snapshot', 'silence', 'offer', 'steer', 'send commit']
  expect(names).toEqual([...before, 'complete handed-off', 'release'])
})

test('the good case of a connection at a server, effect by effect', () => {
  const names = effectsOf(true, [
    { type: 'locked' },
    { type: 'offered', acknowledge: false },
    { type: 'message', message: accept },
    { type: 'steered' },
    { type: 'message', message: committed },
  ])
  expect(names).toEqual(['lock', 'take', 'offer', 'steer', 'send commit', 'release', 'complete handed-off'])
})

test('the way back after the offer, effect by effect', () => {
  const offered: CoordinatorEvent[] = [
    { type: 'locked' },
    { type: 'frozen' },
    { type: 'snapshot-taken', acknowledge: false },
    { type: 'silenced' },
  ]
  const refused: CoordinatorEvent = { type: 'message', message: refuse }
  const undone: CoordinatorEvent[] = [{ type: 'unsilenced' }, { type: 'thawed' }, { type: 'unlocked' }]
  const before = ['lock', 'freeze', 'snapshot', 'silence', 'offer']
  const after = ['thaw', 'send abort', 'unlock', 'complete rolled-back']
  expect(effectsOf(false, [...offered, refused, ...undone])).toEqual([...before, 'unsilence', ...after])

  const failed: CoordinatorEvent = { type: 'unsilence-failed', text: '' }
  const retry: CoordinatorEvent = { type: 'timeout', timer: 'retry' }
  expect(effectsOf(false, [...offered, refused, failed, retry, ...undone])).toEqual([
    ...before,
    'unsilence',
    'unsilence',
    ...after,
  ])
  const lost = ['send abort', 'unlock', 'reset', 'complete lost']
  expect(effectsOf(false, [...offered, refused, failed, retry, failed, retry, failed, { type: 'unlocked' }])).toEqual([
    ...before,
    'unsilence',
    'unsilence',
    'unsilence',
    ...lost,
  ])
})

/** The rule as a next process finds it; none that a world cannot have here. */
function ruleOf(rule: World['rule']): (Rule | undefined)[] {
  switch (rule) {
    case 'none':
      return [undefined]
    case 'hold':
      return [{ action: 'hold', flow, handoff: reference }]
    case 'silent':
      return [{ action: 'hold', flow, silent: true, handoff: reference }]
    case 'steer':
      return [{ action: 'steer', flow, target: steerTo, handoff: reference }]
    case 'back':
      return []
  }
}

function nameOf(effect: CoordinatorEffect): string {
  if (effect.type === 'send') return `send ${effect.message.type}`
  return effect.type === 'complete' ? `complete ${effect.result}` : effect.type
}
