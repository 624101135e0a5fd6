import { describe, expect, test } from 'bun:test'
import type { Message } from '../src/index.ts'
import { handedOff, owners, resultOf, rolledBack, rolledBackAfterOffer, withMessage } from './support/outcomes.ts'
import { flowNumber, type MemoryChannel, Scene } from './support/scene.ts'

const messageTypes = ['offer', 'accept', 'commit', 'committed'] as const

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
