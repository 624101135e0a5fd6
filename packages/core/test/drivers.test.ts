import { describe, expect, test } from 'bun:test'
import type { HandoffOutcome } from '../src/index.ts'
import { handedOff, owners, resultOf, rolledBack, withMessage } from './support/outcomes.ts'
import { flowNumber, Scene, snapshotOf } from './support/scene.ts'

describe('a handoff', () => {
  test('takes its steps in order and says how long they took', async () => {
    const scene = new Scene()
    scene.handOff()
    await scene.settle()
    expect(resultOf(scene.outcomes[0])).toBe('handed-off')
    const { times } = scene.outcomes[0] as HandoffOutcome
    expect(Object.keys(times).sort()).toEqual([
      'adopt',
      'commit',
      'freeze',
      'lock',
      'offer',
      'restore',
      'silence',
      'snapshot',
      'steer',
      'total',
    ])
    // The frozen socket waits for the grace period to end.
    expect(owners(scene)).toEqual({ ...handedOff, released: 0 })
    await scene.finish()
    expect(scene.journal.calls).toEqual([
      'gateway.hold',
      'origin.freeze',
      'origin.snapshot',
      'gateway.silence',
      'origin.verify',
      'server.hold',
      'server.restore',
      'origin.verify',
      'gateway.steer',
      'server.remove',
      'server.adopt',
      'origin.release',
    ])
    expect(owners(scene)).toEqual(handedOff)
    expect(scene.adopted).toEqual([{ flow: flowNumber(1).id, application: 'request 1', host: 'gateway' }])
    expect(scene.restored[0]?.snapshot.send).toEqual(snapshotOf(flowNumber(1)).send)
    expect(scene.restored[0]?.unsent).toEqual(Uint8Array.of(3))
    expect(scene.errors).toEqual([])
    scene.checkNothingLeaks()
  })

  test('times are those of the steps', async () => {
    const scene = new Scene()
    const delays: Record<string, number> = {
      'gateway.hold': 1,
      'origin.freeze': 2,
      'origin.snapshot': 4,
      'gateway.silence': 64,
      'server.restore': 8,
      'gateway.steer': 16,
      'server.adopt': 32,
    }
    const { enter } = scene.journal
    scene.journal.enter = (call) => {
      scene.clock.stall(delays[call] ?? 0)
      return enter.call(scene.journal, call)
    }
    scene.handOff()
    await scene.settle()
    expect(scene.outcomes[0]?.times).toEqual({
      lock: 1000,
      freeze: 2000,
      snapshot: 4000,
      silence: 64_000,
      offer: 8000,
      restore: 8000,
      steer: 16_000,
      commit: 32_000,
      adopt: 32_000,
      total: 127_000,
    })
  })

  test('sixty-four at once keep apart', async () => {
    const scene = new Scene()
    for (let number = 0; number < 64; number++) scene.handOff(number)
    await scene.finish()
    expect(new Set(scene.outcomes.map(resultOf))).toEqual(new Set(['handed-off']))
    expect(scene.adopted.map(({ application }) => application).sort()).toEqual(
      Array.from({ length: 64 }, (_, number) => `request ${number}`).sort(),
    )
    expect(new Set(scene.outcomes.map(({ handoff }) => handoff)).size).toBe(64)
    scene.checkNothingLeaks()
  })

  test('asks for an acknowledgement when one is owed, after the lock is gone and before the application has it', async () => {
    const scene = new Scene()
    scene.handOff(1, { acknowledge: true })
    await scene.finish()
    const { calls } = scene.journal
    const from = calls.indexOf('server.remove')
    expect(calls.slice(from, from + 3)).toEqual(['server.remove', 'server.acknowledge', 'server.adopt'])
  })
})

describe('the caller', () => {
  test.each(['gateway.hold', 'gateway.silence', 'server.hold', 'server.restore', 'gateway.steer', 'server.adopt'])(
    'aborts at %s',
    async (call) => {
      const scene = new Scene()
      const controller = new AbortController()
      const { enter } = scene.journal
      scene.journal.enter = (one) => {
        if (one === call) controller.abort(new Error('changed my mind'))
        return enter.call(scene.journal, one)
      }
      scene.handOff(1, { signal: controller.signal })
      await scene.finish()
      scene.checkNothingLeaks()
      // The fake redirector carries a steer out although it is cancelled: then the commit stands.
      const late = call === 'gateway.steer' || call === 'server.adopt'
      expect(resultOf(scene.outcomes[0])).toBe(late ? 'handed-off' : 'rolled-back: aborted')
      if (!late) expect(scene.outcomes[0]?.failure?.text).toBe('changed my mind')
      expect(scene.count('live') + scene.count('owned')).toBe(1)
    },
  )

  test('says that the client has gone', async () => {
    const scene = new Scene()
    scene.journal.faults.set('server.hold', ['hang'])
    scene.handOff()
    await scene.settle()
    scene.origin.clientGone(flowNumber(1))
    scene.origin.clientGone(flowNumber(2))
    await scene.settle()
    expect([resultOf(scene.outcomes[0]), owners(scene)]).toEqual(['rolled-back: client-gone', rolledBack])
  })

  test('says that the connection has ended: the grace period is over, and the flow can come again', async () => {
    const scene = new Scene()
    scene.handOff()
    await scene.settle()
    expect([scene.origin.size, scene.origin.inFlight]).toEqual([1, 0])
    scene.origin.ended(flowNumber(1))
    expect([scene.origin.size, scene.count('released')]).toEqual([0, 1])
  })

  test('cannot hand off a flow twice at a time', async () => {
    const scene = new Scene()
    scene.handOff(1)
    scene.handOff(1)
    await scene.settle()
    expect(scene.outcomes.map(resultOf).sort()).toEqual(['handed-off', 'rolled-back: busy'])
    await scene.finish()
    expect(owners(scene)).toEqual(handedOff)
    scene.checkNothingLeaks()
  })

  test('is refused beyond the limit of the target, which it may know', async () => {
    const scene = new Scene({ maximumHandoffs: 3 })
    for (let number = 0; number < 5; number++) scene.handOff(number)
    await scene.finish()
    const results = scene.outcomes.map(resultOf).sort()
    expect(results).toEqual([
      'handed-off',
      'handed-off',
      'handed-off',
      'rolled-back: refused busy',
      'rolled-back: refused busy',
    ])
    scene.checkNothingLeaks()
  })

  test('is refused when the offers in progress have too many bytes; one alone may have more', async () => {
    const scene = new Scene({ maximumBytes: 1 })
    for (let port = 1; port <= 2; port++) scene.handOff(port)
    await scene.finish()
    expect(scene.outcomes.map(resultOf).sort()).toEqual(['handed-off', 'rolled-back: refused busy'])
    scene.handOff(3)
    await scene.finish()
    expect(scene.outcomes.map(resultOf)).toHaveLength(3)
    expect(scene.outcomes.map(resultOf).at(-1)).toBe('handed-off')
    scene.checkNothingLeaks()
  })

  test('is refused what the server does not serve, also when the check itself fails', async () => {
    const scene = new Scene()
    scene.authorise = (_flow, host) => host === 'another'
    scene.handOff(1)
    await scene.finish()
    scene.authorise = () => {
      throw new Error('no list')
    }
    scene.handOff(2)
    await scene.finish()
    expect(scene.outcomes.map(resultOf)).toEqual(['rolled-back: refused not-authorised', 'rolled-back: refused failed'])
    expect(scene.errors).toEqual(['authorise: no list'])
    expect(scene.journal.calls).not.toContain('server.hold')
    scene.checkNothingLeaks()
  })

  test('is refused what the application would not take, before anything is done', async () => {
    const scene = new Scene()
    const seen: number[] = []
    scene.refuse = (application) => {
      seen.push(application.length)
      return { reason: 'unsupported', text: 'not with such data' }
    }
    scene.handOff()
    await scene.finish()
    expect(scene.outcomes.map(resultOf)).toEqual(['rolled-back: refused unsupported'])
    expect(seen).toHaveLength(1)
    expect(scene.journal.calls).not.toContain('server.hold')
    scene.checkNothingLeaks()
  })

  test('is refused a snapshot that is none', async () => {
    const scene = new Scene()
    scene.toServer.filter = (message) => [
      message.type === 'offer' ? { ...message, snapshot: message.snapshot.subarray(1) } : message,
    ]
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('rolled-back: refused invalid')
    scene.checkNothingLeaks()
  })
})

describe('closing', () => {
  test.each([
    ['server.hold', 'rolled-back: aborted'],
    ['server.adopt', 'lost: refused failed'],
  ])('the gateway while %s hangs', async (call, result) => {
    const scene = new Scene()
    scene.journal.faults.set(call, ['hang'])
    scene.handOff()
    await scene.settle()
    let closed = false
    scene.origin.close().then(() => {
      closed = true
    })
    expect(closed).toBe(false)
    await scene.finish()
    expect([closed, resultOf(scene.outcomes[0])]).toEqual([true, result])
    scene.handOff(2)
    await scene.settle()
    expect(resultOf(scene.outcomes[1])).toBe('rolled-back: aborted')
  })

  test('the gateway in the grace period releases at once', async () => {
    const scene = new Scene()
    scene.handOff()
    await scene.settle()
    await scene.origin.close()
    expect(scene.count('released')).toBe(1)
  })

  test('the gateway between commit and committed waits for the answer, and not for the grace period', async () => {
    const scene = await withMessage('committed', (one) => {
      one.cut()
      return []
    })
    const closed = scene.origin.close()
    expect(scene.count('frozen')).toBe(1)
    scene.reconnect()
    await scene.settle()
    await closed
    expect([resultOf(scene.outcomes[0]), scene.count('released')]).toEqual(['handed-off', 1])
  })

  test('the server withdraws what is prepared and takes nothing more', async () => {
    const scene = await withMessage('accept', () => [])
    expect(scene.count('restored')).toBe(1)
    await scene.target.close()
    expect([scene.count('discarded'), scene.serverRules.rules.size]).toEqual([1, 0])
    scene.handOff(2)
    await scene.finish()
    expect(scene.outcomes.map(resultOf).sort()).toEqual(['rolled-back: accept-timeout', 'rolled-back: refused busy'])
  })
})

test('a lock that comes after it was given up is removed again', async () => {
  for (const host of ['gateway', 'server'] as const) {
    const scene = new Scene()
    const rules = host === 'gateway' ? scene.gatewayRules : scene.serverRules
    let letThrough: () => void = () => {}
    const put = rules.put.bind(rules)
    rules.put = async (rule) => {
      await new Promise<void>((resolve) => {
        letThrough = resolve
      })
      return put(rule)
    }
    scene.handOff()
    await scene.finish()
    expect(scene.outcomes[0]?.result).toBe('rolled-back')
    letThrough()
    await scene.settle()
    expect([scene.gatewayRules.rules.size, scene.serverRules.rules.size]).toEqual([0, 0])
    expect(scene.count('live')).toBe(1)
  }
})
