import { describe, expect, test } from 'bun:test'
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
} from '../src/index.ts'
import { explore } from './support/explore.ts'
import { abort, after, begin, commit, messages, offer, parameters, successors } from './support/target-world.ts'

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
function answer(state: TargetState, message: ToTargetMessage): string[] {
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
    expect([...phases].sort()).toEqual([...all, 'owned', 'revoked', 'failed', 'refused', 'discarded'].sort())
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
      const allowed = {
        owned: ['owned'],
        revoked: ['revoked'],
        failed: ['reset'],
        refused: ['none'],
        discarded: ['none', 'discarded'],
      }
      expect(allowed[state.phase as keyof typeof allowed]).toContain(socket)
    }
  })

  test('every event is met in every state, in order or not', () => {
    for (const { state } of worlds) {
      for (const event of anyEvents) {
        const step = targetStep(state, event)
        if (!isLast(state) || revokes(state, event)) continue
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
      revoked: [[], ['refuse unknown']],
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

  test('an abort after the commit takes the connection back, as soon as the application has it', () => {
    const late = worlds.filter((world) => world.committed)
    expect(late.length).toBeGreaterThan(5)
    for (const { state } of late) {
      const { state: next, effects } = targetStep(state, { type: 'message', message: abort })
      const owned = state.phase === 'owned'
      expect([next.phase, effects]).toEqual(owned ? ['revoked', [{ type: 'revoke' }]] : [state.phase, []])
      if (state.phase !== 'adopting') continue
      const adopted = targetStep(next, { type: 'adopted', adoptMicroseconds: 1 })
      expect(adopted.state.phase).toBe('revoked')
      expect(adopted.effects.map(({ type }) => type)).toEqual(['cancel-timer', 'revoke'])
    }
  })
})

/** A last phase can be left once: what is owned can be taken back. */
function revokes(state: TargetState, event: TargetEvent): boolean {
  return state.phase === 'owned' && event.type === 'message' && event.message.type === 'abort'
}

test.each([
  [true, false],
  [false, true],
  [false, false],
])('the good case, effect by effect; acknowledge: snapshot %p, commit %p', (inSnapshot, inCommit) => {
  const events: TargetEvent[] = [
    { type: 'valid', acknowledge: inSnapshot },
    { type: 'locked' },
    { type: 'restored', restoreMicroseconds: 42 },
    { type: 'message', message: { ...commit, acknowledge: inCommit } as ToTargetMessage },
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
