import { describe, expect, test } from 'bun:test'
import type { HandoffDestination } from '../src/index.ts'
import { resultOf } from './support/outcomes.ts'
import { flowNumber, snapshotOf } from './support/scene.ts'
import { Triangle, toGateway } from './support/triangle.ts'

const backToA = 'steer to 02:00:00:00:00:0a 9/5'
const toB = 'steer to 02:00:00:00:00:0b 9/1'
const destinations: [string, (triangle: Triangle) => HandoffDestination][] = [
  ['another server', (triangle) => triangle.toServerB],
  ['the gateway', (triangle) => triangle.here.destination],
]

describe('a connection at a server', () => {
  test('goes to another one: the gateway passes it on without restoring it', async () => {
    const triangle = new Triangle()
    await triangle.move(triangle.toServerB)
    expect(resultOf(triangle.outcome)).toBe('handed-off')
    expect(Object.keys(triangle.outcome?.times ?? {}).sort()).toEqual(
      ['adopt', 'commit', 'lock', 'offer', 'restore', 'steer', 'take', 'total'].sort(),
    )
    expect(triangle.rule(triangle.gatewayRules)).toBe(toB)
    expect([triangle.given, triangle.adopted]).toEqual([[{ result: 'given' }], ['b: the state of A']])
    expect(triangle.restored[0]?.snapshot.receive).toEqual(snapshotOf(triangle.flow).receive)
    // Late packets go back to the gateway until the grace period is over.
    expect(triangle.rule(triangle.aRules)).toBe(`return to ${toGateway.mac} 9/1`)
    await triangle.pass(2000)
    expect(triangle.journal.calls).toEqual([
      'gateway.hold',
      'a.hold',
      'origin.freeze',
      'origin.snapshot',
      'a.silence',
      'origin.verify',
      'b.hold',
      'b.restore',
      'gateway.steer',
      'b.remove',
      'b.adopt',
      'a.steer',
      'origin.release',
      'a.remove',
    ])
    triangle.checkNothingLeaks()
  })

  test('comes back to the gateway: the lock, and nothing else, is removed as the commit', async () => {
    const triangle = new Triangle()
    await triangle.move(triangle.here.destination)
    expect(resultOf(triangle.outcome)).toBe('handed-off')
    await triangle.pass(2000)
    expect(triangle.journal.calls.filter((call) => call.startsWith('gateway'))).toEqual([
      'gateway.hold',
      'gateway.restore',
      'gateway.remove',
      'gateway.adopt',
    ])
    expect([triangle.rule(triangle.gatewayRules), triangle.adopted]).toEqual(['none', ['gateway: the state of A']])
    triangle.checkNothingLeaks()
  })

  test.each(destinations)('stays where it is when it cannot be frozen, on its way to %s', async (_name, to) => {
    const triangle = new Triangle()
    triangle.journal.faults.set('origin.freeze', ['throw'])
    await triangle.move(to(triangle))
    await triangle.pass(3000)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: take-refused')
    expect([triangle.given[0]?.result, triangle.connection.state]).toEqual(['kept', 'live'])
    expect(triangle.rule(triangle.gatewayRules)).toBe(backToA)
    triangle.checkNothingLeaks()
  })

  test.each([
    ['another server', 'b.restore'],
    ['the gateway', 'gateway.restore'],
  ])('goes on where it was when %s cannot restore it', async (name, call) => {
    const triangle = new Triangle()
    triangle.journal.faults.set(call, ['throw'])
    const to = destinations.find(([one]) => one === name)?.[1] as (triangle: Triangle) => HandoffDestination
    await triangle.move(to(triangle))
    await triangle.pass(3000)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: refused failed')
    expect([triangle.given[0]?.result, triangle.connection.state]).toEqual(['kept', 'live'])
    expect(triangle.rule(triangle.gatewayRules)).toBe(backToA)
    triangle.checkNothingLeaks()
  })

  test('goes on where it was when its server was not asked in time', async () => {
    const triangle = new Triangle()
    triangle.journal.faults.set('a.hold', ['hang'])
    await triangle.move(triangle.toServerB)
    await triangle.pass(8000)
    expect(triangle.outcome?.result).toBe('rolled-back')
    expect([triangle.given[0]?.result, triangle.connection.state]).toEqual(['kept', 'live'])
    expect(triangle.rule(triangle.gatewayRules)).toBe(backToA)
    triangle.checkNothingLeaks()
  })
})

describe('an offer', () => {
  test('of another connection is not passed on', async () => {
    const triangle = new Triangle()
    triangle.offers = snapshotOf(flowNumber(2))
    await triangle.move(triangle.toServerB)
    await triangle.pass(3000)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: channel-lost')
    expect([triangle.restored, triangle.connection.state]).toEqual([[], 'live'])
    triangle.checkNothingLeaks()
  })

  test('that is forged by another host, of another epoch or of no handoff changes nothing', async () => {
    const triangle = new Triangle()
    triangle.aToGateway.filter = () => []
    await triangle.move(triangle.toServerB)
    const offer = {
      type: 'offer',
      handoff: 1,
      epoch: 9,
      snapshot: new Uint8Array(),
      application: new Uint8Array(),
    } as const
    expect(triangle.coordinator.receive(triangle.channelToB, offer)).toBe(true)
    expect(triangle.coordinator.receive(triangle.channelToA, { ...offer, epoch: 8 })).toBe(true)
    expect(triangle.coordinator.receive(triangle.channelToA, { ...offer, handoff: 2 })).toBe(true)
    await triangle.pass(500)
    expect([triangle.outcome, triangle.restored]).toEqual([undefined, []])
    await triangle.pass(10_000)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: take-timeout')
    triangle.checkNothingLeaks()
  })

  test('comes twice: it is restored once', async () => {
    const triangle = new Triangle()
    triangle.aToGateway.filter = (message) => [message, message]
    await triangle.move(triangle.toServerB)
    expect([resultOf(triangle.outcome), triangle.restored.length]).toEqual(['handed-off', 1])
  })
})

describe('a decision that its channel does not take', () => {
  test('an abort is made up for when the channel returns', async () => {
    const triangle = new Triangle()
    triangle.aToGateway.filter = (message) => {
      triangle.cutA()
      return [message]
    }
    await triangle.move(triangle.toServerB)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: channel-lost')
    expect([...triangle.origin.offered('gateway')]).toEqual([
      { flow: triangle.flow, handoff: 1, epoch: 9, state: 'offered', connection: { handoff: 5, epoch: 9 } },
    ])
    expect(triangle.connection.state).toBe('frozen')
    triangle.reconnectA()
    await triangle.pass(2000)
    expect([triangle.given[0]?.result, triangle.connection.state]).toEqual(['kept', 'live'])
    triangle.checkNothingLeaks()
  })

  test('a release is made up for when the channel returns', async () => {
    const triangle = new Triangle()
    triangle.bToGateway.filter = (message) => {
      if (message.type === 'committed') triangle.cutA()
      return [message]
    }
    await triangle.move(triangle.toServerB)
    expect([resultOf(triangle.outcome), triangle.connection.state]).toEqual(['handed-off', 'frozen'])
    triangle.reconnectA()
    await triangle.pass(2000)
    expect([triangle.given[0]?.result, triangle.connection.state]).toEqual(['given', 'released'])
    triangle.checkNothingLeaks()
  })

  test('without one the frozen socket closes silently in the end, and what came late goes to the gateway', async () => {
    const triangle = new Triangle()
    triangle.bToGateway.filter = (message) => {
      if (message.type === 'committed') triangle.cutA()
      return [message]
    }
    await triangle.move(triangle.toServerB)
    await triangle.pass(60_100)
    expect(triangle.given).toEqual([{ result: 'lost', failure: 'the gateway did not decide in time' }])
    expect([triangle.connection.state, triangle.rule(triangle.aRules)]).toEqual([
      'released',
      `return to ${toGateway.mac} 9/1`,
    ])
    await triangle.pass(2000)
    triangle.checkNothingLeaks()
  })
})

describe('the rule for late packets', () => {
  test('is tried again, with the frozen socket behind its lock', async () => {
    const triangle = new Triangle()
    triangle.journal.faults.set('a.steer', ['reject', undefined])
    await triangle.move(triangle.toServerB)
    expect([triangle.connection.state, triangle.rule(triangle.aRules)]).toEqual(['frozen', 'silent hold'])
    await triangle.pass(150)
    expect([triangle.connection.state, triangle.rule(triangle.aRules)]).toEqual([
      'released',
      `return to ${toGateway.mac} 9/1`,
    ])
  })

  test('cannot be put: the socket stays until the lock is gone, for what the lock has stored must not meet a stack without it', async () => {
    const triangle = new Triangle()
    triangle.journal.faults.set('a.steer', ['reject'])
    await triangle.move(triangle.toServerB)
    await triangle.pass(3000)
    expect(triangle.journal.calls.slice(-2)).toEqual(['a.remove', 'origin.release'])
    expect(triangle.given).toEqual([{ result: 'given' }])
    triangle.checkNothingLeaks()
  })

  test('makes room when the connection comes back, and not before it is given', async () => {
    const triangle = new Triangle()
    triangle.bToGateway.filter = () => []
    await triangle.move(triangle.toServerB)
    expect(triangle.origin.supersede(triangle.flow)).toBe(false)
    const other = new Triangle()
    other.journal.faults.set('a.steer', ['hang'])
    await other.move(other.toServerB)
    expect(other.origin.supersede(other.flow)).toBeInstanceOf(Promise)
    const third = new Triangle()
    await third.move(third.toServerB)
    expect([third.origin.supersede(third.flow), third.origin.size, third.clock.pending]).toEqual([true, 0, 0])
  })
})

test('the origin that is closing keeps what it has not offered, and waits a while for decisions', async () => {
  const triangle = new Triangle()
  triangle.bToGateway.filter = () => []
  await triangle.move(triangle.toServerB)
  let closed = false
  triangle.origin.close().then(() => {
    closed = true
  })
  await triangle.pass(1000)
  expect([closed, triangle.connection.state]).toEqual([false, 'frozen'])
  await triangle.pass(2000)
  expect([closed, triangle.connection.state, triangle.given[0]?.result]).toEqual([true, 'live', 'kept'])
  const refused = await triangle.origin.give(
    {
      connection: triangle.connection,
      channel: triangle.aToGateway,
      gateway: toGateway,
      application: new Uint8Array(),
    },
    { type: 'take', handoff: 2, epoch: 9, flow: triangle.flow, connection: { handoff: 5, epoch: 9 } },
  )
  expect(refused).toEqual({ result: 'kept', failure: 'this host is closing' })
})

test('a server is asked for the connection that it has, and for no other', async () => {
  const triangle = new Triangle()
  const take = {
    type: 'take',
    handoff: 3,
    epoch: 9,
    flow: flowNumber(2),
    connection: { handoff: 5, epoch: 9 },
  } as const
  triangle.atA(take)
  await triangle.settle()
  expect(triangle.given[0]?.result).toBe('kept')
  expect(triangle.journal.calls).toEqual([])
})

test('a connection that is at the gateway cannot be handed to it', async () => {
  const triangle = new Triangle()
  const outcome = triangle.coordinator.handOff(triangle.connection, triangle.here.destination, new Uint8Array())
  await triangle.pass(3000)
  expect(resultOf(await outcome)).toBe('rolled-back: channel-lost')
  expect(triangle.connection.state).toBe('live')
})
