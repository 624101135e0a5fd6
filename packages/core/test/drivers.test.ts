import { describe, expect, test } from 'bun:test'
import type { HandoffOutcome, Message } from '../src/index.ts'
import type { Fault } from './support/fake-host.ts'
import { flowNumber, type MemoryChannel, Scene, snapshotOf } from './support/scene.ts'

function resultOf(outcome: HandoffOutcome | undefined): string {
  const { result, failure } = outcome ?? {}
  return failure ? `${result}: ${failure.reason}${failure.refusal ? ` ${failure.refusal}` : ''}` : `${result}`
}

/** Counters of what becomes of a connection: exactly one owner, or none where it was reset. */
function owners(scene: Scene): Record<string, number> {
  return Object.fromEntries(
    (['live', 'released', 'reset', 'owned', 'discarded'] as const).map((state) => [state, scene.count(state)]),
  )
}

const handedOff = { live: 0, released: 1, reset: 0, owned: 1, discarded: 0 }
const rolledBack = { live: 1, released: 0, reset: 0, owned: 0, discarded: 0 }
const rolledBackAfterOffer = { ...rolledBack, discarded: 1 }

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
      'server.hold',
      'server.restore',
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

/** Every call of every port, how it can fail, and what must come of it. */
const portFailures: [string, Fault[], string, Record<string, number>][] = [
  ['gateway.hold', ['throw', 'reject'], 'rolled-back: lock-failed', rolledBack],
  ['gateway.hold', ['hang', 'slow'], 'rolled-back: lock-timeout', rolledBack],
  ['gateway.silence', ['throw', 'reject'], 'rolled-back: lock-failed', rolledBack],
  ['gateway.silence', ['hang', 'slow'], 'rolled-back: lock-timeout', rolledBack],
  ['origin.freeze', ['throw'], 'rolled-back: freeze-failed', rolledBack],
  ['origin.snapshot', ['throw'], 'rolled-back: snapshot-failed', rolledBack],
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
      expect(resultOf(scene.outcomes[1])).toBe('handed-off')
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

const messageTypes = ['offer', 'accept', 'commit', 'committed'] as const

/** Runs a handoff in which one message of a type is treated specially. */
async function withMessage(
  type: Message['type'],
  treat: (scene: Scene, message: Message) => Message[],
): Promise<Scene> {
  const scene = new Scene()
  let done = false
  const filter = (message: Message): Message[] => {
    if (done || message.type !== type) return [message]
    done = true
    return treat(scene, message)
  }
  scene.toServer.filter = filter
  scene.toGateway.filter = filter
  scene.handOff()
  await scene.settle()
  return scene
}

describe('when the channel is lost', () => {
  const committed = (type: string): boolean => type === 'commit' || type === 'committed'

  test.each(messageTypes)('with %s on its way, and comes back', async (type) => {
    const scene = await withMessage(type, (one) => {
      one.cut()
      return []
    })
    await scene.clock.advance(1000, scene.settle)
    scene.reconnect()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe(committed(type) ? 'handed-off' : 'rolled-back: channel-lost')
    expect(owners(scene)).toEqual(committed(type) ? handedOff : type === 'offer' ? rolledBack : rolledBackAfterOffer)
    expect(scene.adopted).toHaveLength(committed(type) ? 1 : 0)
    scene.checkNothingLeaks()
  })

  test.each(messageTypes)('just after %s has arrived, and comes back', async (type) => {
    const scene = await withMessage(type, (one, message) => {
      queueMicrotask(() => one.cut())
      return [message]
    })
    await scene.clock.advance(1000, scene.settle)
    scene.reconnect()
    await scene.finish()
    scene.checkNothingLeaks()
    expect(scene.count('live') + scene.count('owned')).toBe(1)
    expect(resultOf(scene.outcomes[0])).toBe(scene.count('owned') ? 'handed-off' : 'rolled-back: channel-lost')
  })

  test.each(messageTypes)('with %s on its way, for good', async (type) => {
    const scene = await withMessage(type, (one) => {
      one.cut()
      return []
    })
    await scene.finish()
    // The server owns the connection when only its answer was lost; the gateway cannot know, and gives up the flow.
    const expected = {
      offer: [rolledBack, 'rolled-back: channel-lost'],
      accept: [rolledBackAfterOffer, 'rolled-back: channel-lost'],
      commit: [{ ...rolledBackAfterOffer, live: 0, reset: 1 }, 'lost: commit-timeout'],
      committed: [{ ...rolledBack, live: 0, reset: 1, owned: 1 }, 'lost: commit-timeout'],
    } as const
    expect([owners(scene), resultOf(scene.outcomes[0])]).toEqual([...expected[type]])
    scene.checkNothingLeaks()
  })

  test('an abort that could not be sent is sent when the channel is back, and frees the flow at the server', async () => {
    const scene = await withMessage('accept', (one) => {
      one.cut()
      return []
    })
    expect(scene.count('restored')).toBe(1)
    scene.reconnect()
    await scene.settle()
    expect([scene.count('restored'), scene.count('discarded'), scene.serverRules.rules.size]).toEqual([0, 1, 0])
    scene.handOff(1)
    await scene.finish()
    expect(resultOf(scene.outcomes[1])).toBe('handed-off')
  })

  test('no handoff is begun without a channel', async () => {
    const scene = new Scene()
    scene.cut()
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('rolled-back: channel-lost')
    expect(scene.journal.calls).toEqual([])
  })
})

describe('when messages go wrong', () => {
  test.each(messageTypes)('%s comes three times: the connection is restored and adopted once', async (type) => {
    const scene = await withMessage(type, (_scene, message) => [message, message, message])
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('handed-off')
    expect(owners(scene)).toEqual(handedOff)
    expect(scene.restored).toHaveLength(1)
    scene.checkNothingLeaks()
  })

  test.each([
    ['offer', 'rolled-back: accept-timeout', rolledBack],
    ['accept', 'rolled-back: accept-timeout', rolledBackAfterOffer],
    ['commit', 'lost: commit-timeout', { ...rolledBackAfterOffer, live: 0, reset: 1 }],
    ['committed', 'lost: commit-timeout', { ...rolledBack, live: 0, reset: 1, owned: 1 }],
  ] as const)('%s is swallowed: time limits end it', async (type, result, expected) => {
    const scene = await withMessage(type, () => [])
    await scene.finish()
    expect([resultOf(scene.outcomes[0]), owners(scene)]).toEqual([result, expected])
    scene.checkNothingLeaks()
  })

  test('old messages of all kinds, of other epochs and other handoffs, change nothing', async () => {
    const scene = new Scene()
    const noise = (message: Message): Message[] => {
      if (!('handoff' in message)) return [message]
      return [{ ...message, epoch: 0 } as Message, { ...message, handoff: 999 } as Message, message]
    }
    scene.toGateway.filter = noise
    scene.handOff()
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('handed-off')
    const before = scene.journal.calls.length
    const reference = { handoff: 1, epoch: 1 }
    scene.toGateway.send({ type: 'accept', ...reference, restoreMicroseconds: 1 })
    scene.toGateway.send({ type: 'refuse', ...reference, reason: 'busy', text: '' })
    scene.toServer.send({ type: 'abort', ...reference })
    scene.toServer.send({ type: 'offer', ...reference, snapshot: new Uint8Array(), application: new Uint8Array() })
    await scene.finish()
    expect(scene.journal.calls.length).toBe(before)
    scene.checkNothingLeaks()
  })

  test('a late commit is answered: committed by its owner, unknown by who knows nothing', async () => {
    const scene = new Scene()
    scene.handOff()
    await scene.finish()
    const answers: string[] = []
    scene.toGateway.filter = (message) => {
      answers.push(message.type === 'refuse' ? `refuse ${message.reason}` : message.type)
      return []
    }
    scene.toServer.send({ type: 'commit', handoff: 1, epoch: 1, acknowledge: false })
    scene.toServer.send({ type: 'commit', handoff: 1, epoch: 2, acknowledge: false })
    scene.toServer.send({ type: 'abort', handoff: 5, epoch: 2 })
    await scene.settle()
    expect(answers).toEqual(['committed', 'refuse unknown'])
  })

  test('another host cannot answer', async () => {
    const scene = new Scene()
    scene.journal.faults.set('server.hold', ['hang'])
    scene.handOff()
    await scene.settle()
    const stranger = Object.assign(
      Object.create(Object.getPrototypeOf(scene.toServer)) as MemoryChannel,
      scene.toServer,
    )
    expect(scene.origin.receive(stranger, { type: 'accept', handoff: 1, epoch: 1, restoreMicroseconds: 0 })).toBe(true)
    await scene.settle()
    expect(scene.journal.calls).not.toContain('gateway.steer')
  })

  test('messages of the other role are left to others', () => {
    const scene = new Scene()
    const ping = { type: 'ping', nonce: 1 } as const
    const abort = { type: 'abort', handoff: 1, epoch: 1 } as const
    expect([scene.origin.receive(scene.toServer, ping), scene.origin.receive(scene.toServer, abort)]).toEqual([
      false,
      false,
    ])
    expect([scene.target.receive(scene.toGateway, ping), scene.target.receive(scene.toGateway, abort)]).toEqual([
      false,
      true,
    ])
  })
})

describe('a channel that takes no more', () => {
  test('before the offer: rolled back', async () => {
    const scene = new Scene()
    scene.toServer.full = true
    scene.handOff()
    await scene.settle()
    expect([resultOf(scene.outcomes[0]), owners(scene)]).toEqual(['rolled-back: channel-lost', rolledBack])
  })

  test('at the commit: it is tried again', async () => {
    const scene = await withMessage('accept', (one, message) => {
      one.toServer.full = true
      return [message]
    })
    expect(scene.gatewayRules.of(flowNumber(1))).toBe('steer')
    expect(scene.outcomes).toEqual([])
    scene.toServer.full = false
    await scene.clock.advance(300, scene.settle)
    expect(resultOf(scene.outcomes[0])).toBe('handed-off')
    await scene.finish()
    scene.checkNothingLeaks()
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
