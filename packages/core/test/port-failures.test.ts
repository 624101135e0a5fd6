import { describe, expect, test } from 'bun:test'
import type { Fault } from './support/fake-host.ts'
import { handedOff, owners, resultOf, rolledBack, rolledBackAfterOffer } from './support/outcomes.ts'
import { Scene } from './support/scene.ts'

/** Every call of every port, how it can fail, and what must come of it. */
const portFailures: [string, Fault[], string, Record<string, number>][] = [
  ['gateway.hold', ['throw', 'reject'], 'rolled-back: lock-failed', rolledBack],
  ['gateway.hold', ['hang', 'slow'], 'rolled-back: lock-timeout', rolledBack],
  ['gateway.silence', ['throw', 'reject'], 'rolled-back: lock-failed', rolledBack],
  ['gateway.silence', ['hang', 'slow'], 'rolled-back: lock-timeout', rolledBack],
  ['origin.freeze', ['throw'], 'rolled-back: freeze-failed', rolledBack],
  ['origin.snapshot', ['throw'], 'rolled-back: snapshot-failed', rolledBack],
  ['origin.verify', ['throw'], 'rolled-back: lock-failed', rolledBack],
  ['server.hold', ['throw', 'reject'], 'rolled-back: refused failed', rolledBack],
  ['server.hold', ['hang', 'slow'], 'rolled-back: refused failed', rolledBack],
  ['server.restore', ['throw'], 'rolled-back: refused failed', rolledBack],
  ['gateway.steer', ['throw', 'reject'], 'rolled-back: steer-failed', rolledBackAfterOffer],
  ['gateway.steer', ['hang'], 'lost: steer-timeout', { ...rolledBackAfterOffer, live: 0, reset: 1 }],
  // Cancelled, and carried out all the same: then it is the commit.
  ['gateway.steer', ['slow'], 'handed-off', handedOff],
  ['server.acknowledge', ['throw'], 'handed-off', handedOff],
  ['server.adopt', ['throw', 'reject', 'hang'], 'lost: refused failed', { ...rolledBack, live: 0, reset: 2 }],
  ['origin.release', ['throw'], 'handed-off', { ...handedOff, released: 0 }],
]

describe('when a port fails', () => {
  const cases = portFailures.flatMap(([call, faults, result, expected]) =>
    faults.map((fault) => [call, fault, result, expected] as const),
  )

  test.each(cases)('%s: %s', async (call, fault, result, expected) => {
    const scene = new Scene()
    scene.journal.faults.set(call, [fault])
    scene.handOff(1, { acknowledge: true })
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe(result)
    expect(owners(scene)).toEqual(expected)
    if (call !== 'origin.release') scene.checkNothingLeaks()
    // The flow is free again.
    scene.journal.faults.clear()
    if (result.startsWith('rolled-back')) {
      scene.handOff(1)
      await scene.finish()
      // What comes late would undo what the next handoff has put: that one waits for the answer.
      const answered = fault !== 'hang' || !call.startsWith('gateway')
      expect(resultOf(scene.outcomes[1])).toBe(answered ? 'handed-off' : 'rolled-back: busy')
    }
  })

  test('a text that an error gives reaches the outcome, short', async () => {
    const scene = new Scene()
    scene.journal.faults.set('server.restore', ['throw'])
    scene.handOff()
    await scene.finish()
    expect(scene.outcomes[0]?.failure).toEqual({
      reason: 'refused',
      refusal: 'failed',
      text: 'server.restore was made to fail',
    })
  })

  test.each([
    ['origin.thaw', 'lost: thaw-failed'],
    ['server.discard', 'rolled-back: steer-failed'],
  ])('%s fails while the handoff is undone', async (call, result) => {
    const scene = new Scene()
    scene.journal.faults.set('gateway.steer', ['reject'])
    scene.journal.faults.set(call, ['throw'])
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe(result)
    expect([...scene.gatewayRules.rules.keys(), ...scene.serverRules.rules.keys()]).toEqual([])
    expect(scene.count('frozen')).toBe(0)
    expect(scene.errors.length).toBe(call === 'server.discard' ? 1 : 0)
  })

  test.each(['gateway.remove', 'server.remove'])('%s fails twice and is tried again', async (call) => {
    const scene = new Scene()
    if (call === 'gateway.remove') scene.journal.faults.set('origin.snapshot', ['throw'])
    scene.journal.faults.set(call, ['reject', 'throw', undefined])
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe(call === 'gateway.remove' ? 'rolled-back: snapshot-failed' : 'handed-off')
    expect(scene.journal.calls.filter((one) => one === call)).toHaveLength(3)
    expect(scene.errors).toHaveLength(2)
    scene.checkNothingLeaks()
  })

  test('a lock that stays silent when the handoff is undone is tried again', async () => {
    const scene = new Scene()
    scene.journal.faults.set('server.restore', ['throw'])
    scene.journal.faults.set('gateway.unsilence', ['reject', 'hang', undefined])
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('rolled-back: refused failed')
    expect(scene.journal.calls.filter((one) => one === 'gateway.unsilence')).toHaveLength(3)
    scene.checkNothingLeaks()
  })

  test.each(['reject', 'hang', 'throw'] as const)(
    'a lock that cannot be made other than silent (%s) ends the connection, in bounded time',
    async (fault) => {
      const scene = new Scene()
      scene.journal.faults.set('gateway.steer', ['reject'])
      scene.journal.faults.set('gateway.unsilence', [fault])
      scene.handOff()
      await scene.finish()
      expect(resultOf(scene.outcomes[0])).toBe('lost: unlock-failed')
      expect(owners(scene)).toEqual({ ...rolledBackAfterOffer, live: 0, reset: 1 })
      expect(scene.journal.calls).not.toContain('origin.thaw')
      scene.checkNothingLeaks()
    },
  )

  test('such a lock is removed as often as any other', async () => {
    const scene = new Scene()
    scene.journal.faults.set('gateway.steer', ['reject'])
    scene.journal.faults.set('gateway.unsilence', ['reject'])
    scene.journal.faults.set('gateway.remove', ['reject', undefined])
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('lost: unlock-failed')
    scene.checkNothingLeaks()
  })

  test.each(['reject', 'hang', 'throw'] as const)(
    'a rule that cannot be removed (%s) ends the connection, in bounded time',
    async (fault) => {
      const scene = new Scene()
      scene.journal.faults.set('origin.snapshot', ['throw'])
      scene.journal.faults.set('gateway.remove', [fault])
      scene.handOff()
      await scene.finish()
      expect(resultOf(scene.outcomes[0])).toBe('lost: unlock-failed')
      expect(owners(scene)).toEqual({ ...rolledBack, live: 0, reset: 1 })
      expect([scene.clock.pending, scene.origin.size]).toEqual([0, 0])
    },
  )

  test('the server cannot remove its lock after the commit: the connection is reset at both ends', async () => {
    const scene = new Scene()
    scene.journal.faults.set('server.remove', ['reject'])
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('lost: refused failed')
    expect(owners(scene)).toEqual({ ...rolledBack, live: 0, reset: 2 })
  })
})

test('a packet that comes late at the origin, while the target restores, undoes the handoff', async () => {
  const scene = new Scene()
  scene.journal.faults.set('origin.verify', [undefined, 'throw'])
  scene.handOff(1)
  await scene.finish()
  expect(resultOf(scene.outcomes[0])).toBe('rolled-back: steer-failed')
  expect(scene.journal.calls).not.toContain('gateway.steer')
  expect(owners(scene)).toEqual(rolledBackAfterOffer)
  scene.checkNothingLeaks()
})
