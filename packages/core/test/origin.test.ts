import { describe, expect, test } from 'bun:test'
import {
  DEFAULT_ORIGIN_LIMITS,
  type OriginEffect,
  type OriginEvent,
  type OriginTimer,
  originStart,
  originStep,
} from '../src/index.ts'
import { explore } from './support/explore.ts'
import { after, begin, messages, parameters, release, successors, type World } from './support/origin-world.ts'

const worlds = explore([begin()], (world) => JSON.stringify(world), successors)

const anyEvents: OriginEvent[] = [
  ...(['locked', 'frozen', 'snapshot-taken', 'silenced', 'forwarded', 'thawed', 'unlocked', 'superseded'] as const).map(
    (type) => ({ type }),
  ),
  ...(
    [
      'lock-failed',
      'freeze-failed',
      'snapshot-failed',
      'silence-failed',
      'forward-failed',
      'thaw-failed',
      'unlock-failed',
      'send-failed',
      'aborted',
    ] as const
  ).map((type) => ({ type, text: 'x' })),
  ...messages.map((message) => ({ type: 'message', message }) as const),
  ...Object.keys(DEFAULT_ORIGIN_LIMITS).map((timer) => ({ type: 'timeout', timer: timer as OriginTimer }) as const),
]

/** What time alone makes of a world: redirector and gateway are silent for ever. */
function timePasses(world: World): World {
  const [next] = world.call ? successors(world) : []
  if (next) return next
  const [timer] = world.timers
  if (!timer) throw new Error(`no time limit in phase ${world.state.phase}`)
  return after(world, { type: 'timeout', timer }, { timers: world.timers.slice(1) })
}

describe('origin machine, in every world that can be reached', () => {
  test('there are many, and every phase and outcome is among them', () => {
    expect(worlds.length).toBeGreaterThan(300)
    const phases = new Set<string>(worlds.map((world) => world.state.phase))
    const waiting = ['locking', 'silencing', 'offered', 'forwarding', 'grace', 'unlocking']
    expect([...phases].sort()).toEqual([...waiting, 'freezing', 'snapshotting', 'thawing', 'finished'].sort())
    expect(new Set(worlds.map((world) => world.outcome))).toEqual(new Set([undefined, 'given', 'kept', 'lost']))
  })

  test('time alone ends every handoff', () => {
    for (const start of worlds) {
      let world = start
      for (let count = 0; world.state.phase !== 'finished'; count++) {
        expect(count).toBeLessThan(20)
        world = timePasses(world)
      }
    }
  })

  test('what is finished has told its outcome, and left no timer and no frozen socket', () => {
    const finished = worlds.filter((world) => world.state.phase === 'finished')
    expect(finished.length).toBeGreaterThan(10)
    for (const { timers, socket, outcome, decision } of finished) {
      expect(timers).toEqual([])
      expect(outcome).toBeDefined()
      if (outcome === 'given') expect([socket, decision]).toEqual(['released', 'release'])
      if (outcome === 'kept') expect(socket).toBe('live')
      if (outcome === 'lost') expect(['released', 'reset']).toContain(socket)
    }
  })

  test('who offered hears what becomes of it from the gateway, and from nobody else', () => {
    for (const world of worlds.filter(({ state }) => state.phase === 'offered')) {
      for (const event of anyEvents) {
        const { state } = originStep(world.state, event)
        const decides = event.type === 'message' || event.type === 'send-failed'
        const late = event.type === 'timeout' && event.timer === 'decision'
        if (!decides && !late) expect(state).toBe(world.state)
      }
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
          expect(step).toEqual({ state, effects: [] })
          expect(step.state).toBe(state)
        }
      }
    }
  })

  test('a message that comes twice changes nothing the second time', () => {
    for (const { state } of worlds) {
      for (const message of messages) {
        const once = originStep(state, { type: 'message', message }).state
        const twice = originStep(once, { type: 'message', message })
        expect([twice.state === once, twice.effects]).toEqual([true, []])
      }
    }
  })
})

test('the good case, effect by effect', () => {
  const events: OriginEvent[] = [
    { type: 'locked' },
    { type: 'frozen' },
    { type: 'snapshot-taken' },
    { type: 'silenced' },
    { type: 'message', message: release },
    { type: 'forwarded' },
    { type: 'timeout', timer: 'grace' },
    { type: 'unlocked' },
  ]
  let { state, effects } = originStart(parameters)
  const names: string[] = effects.map(nameOf)
  for (const event of events) {
    ;({ state, effects } = originStep(state, event))
    names.push(...effects.map(nameOf))
  }
  const given = ['forward', 'release', 'complete given', 'unlock']
  expect(names.filter((name) => !name.includes('timer'))).toEqual([
    'lock',
    'freeze',
    'snapshot',
    'silence',
    'offer',
    ...given,
  ])
})

function nameOf(effect: OriginEffect): string {
  return effect.type === 'complete' ? `complete ${effect.result}` : effect.type
}
