// What a client said, and what applications tell each other, is overwritten as soon as nobody uses it any more (invariant 9).
import { describe, expect, test } from 'bun:test'
import { encodeSnapshot, type Message, type OfferMessage, type TcpSnapshot } from '../src/index.ts'
import type { Fault } from './support/fake-host.ts'
import { resultOf } from './support/outcomes.ts'
import { flowNumber, Scene, snapshotOf } from './support/scene.ts'
import { arrival, Triangle, toGateway } from './support/triangle.ts'

const isWiped = (bytes: Uint8Array): boolean => bytes.length > 0 && bytes.every((byte) => byte === 0)
const queuesOf = ({ send, receive }: TcpSnapshot): Uint8Array[] => [send.sent, send.unsent, receive.queue]
const bytesOf = ({ snapshot, application }: OfferMessage): Uint8Array[] => [snapshot, application]

/** Keeps the offers that a driver gets. */
function watch(driver: { receive(channel: never, message: Message): boolean }): OfferMessage[] {
  const offers: OfferMessage[] = []
  const receive = driver.receive.bind(driver)
  driver.receive = (channel, message) => {
    if (message.type === 'offer') offers.push(message)
    return receive(channel, message)
  }
  return offers
}

describe('an offer at its target', () => {
  const failures: [string, string, (scene: Scene) => void][] = [
    [
      'that is not authorised',
      'rolled-back: refused not-authorised',
      (scene) => Object.assign(scene, { authorise: () => false }),
    ],
    ['that comes when it is closing', 'rolled-back: refused busy', (scene) => void scene.target.close()],
    ['that it cannot lock', 'rolled-back: refused failed', fault('server.hold', 'reject')],
    ['that it does not lock in time', 'rolled-back: refused failed', fault('server.hold', 'hang')],
  ]
  test.each(failures)('%s: snapshot and application', async (_, result, make) => {
    const scene = new Scene()
    const offers = watch(scene.target)
    make(scene)
    scene.handOff()
    await scene.finish()
    expect(scene.outcomes.map(resultOf)).toEqual([result])
    expect(offers.flatMap(bytesOf).map(isWiped)).toEqual([true, true])
  })

  const ends: [string, string, (scene: Scene) => void][] = [
    ['that is handed off', 'handed-off', () => {}],
    ['that it cannot restore', 'rolled-back: refused failed', fault('server.restore', 'throw')],
    ['that is withdrawn', 'rolled-back: steer-failed', fault('gateway.steer', 'reject')],
    ['that the application does not take', 'lost: refused failed', fault('server.adopt', 'reject')],
    ['that the application never takes', 'lost: refused failed', fault('server.adopt', 'hang')],
  ]
  test.each(ends)('%s: what the application is told, when it has read it', async (_, result, make) => {
    const scene = new Scene()
    const offers = watch(scene.target)
    make(scene)
    scene.handOff()
    await scene.finish()
    expect(scene.outcomes.map(resultOf)).toEqual([result])
    expect(offers.map(({ application }) => isWiped(application))).toEqual([true])
    if (result === 'handed-off') expect(scene.adopted).toMatchObject([{ application: 'request 1' }])
  })

  test('that comes twice, during the handoff and after it', async () => {
    const scene = new Scene()
    const offers = watch(scene.target)
    scene.toServer.filter = (message) => [message, message]
    scene.handOff()
    await scene.finish()
    const late = { type: 'offer', handoff: 1, epoch: 1, snapshot: encodeSnapshot(snapshotOf(flowNumber(1))) } as const
    scene.toServer.send({ ...late, application: Uint8Array.of(1) })
    await scene.finish()
    expect(scene.adopted).toMatchObject([{ application: 'request 1' }])
    // The first one's snapshot is the restorer's.
    expect(offers.slice(1).flatMap(bytesOf).map(isWiped)).toEqual([true, true, true, true, true, true])
  })
})

describe('what is handed off from here', () => {
  test('and cannot be locked: what the application says', async () => {
    const scene = new Scene()
    scene.journal.faults.set('gateway.hold', ['reject'])
    const application = Uint8Array.of(1, 2, 3)
    const outcome = scene.origin.handOff(scene.connection(1), scene.destination, application)
    await scene.finish()
    expect([resultOf(await outcome), isWiped(application)]).toEqual(['rolled-back: lock-failed', true])
  })

  test.each([
    ['changed while it was frozen', 'origin.verify', 'throw'],
    ['was not silenced', 'gateway.silence', 'reject'],
  ] as const)('and %s: the snapshot, which is not offered', async (_, call, how) => {
    const scene = new Scene()
    scene.journal.faults.set(call, [how])
    const { content } = scene.handOff()
    expect(queuesOf(content).some(isWiped)).toBe(false)
    await scene.finish()
    expect(resultOf(scene.outcomes[0])).toBe('rolled-back: lock-failed')
    expect(queuesOf(content).every(isWiped)).toBe(true)
  })
})

describe('an offer at the gateway', () => {
  test('of another connection than the one that was asked for', async () => {
    const triangle = new Triangle()
    const offers = watch(triangle.coordinator)
    triangle.offers = snapshotOf(flowNumber(2))
    await triangle.move(triangle.toServerB)
    expect(resultOf(triangle.outcome)).toBe('rolled-back: channel-lost')
    expect(offers.flatMap(bytesOf).map(isWiped)).toEqual([true, true])
  })

  test('that comes twice, and of a handoff that nobody knows', async () => {
    const triangle = new Triangle()
    const offers = watch(triangle.coordinator)
    triangle.aToGateway.filter = (message) =>
      message.type === 'offer' ? [message, message, { ...message, handoff: 77 }] : [message]
    await triangle.move(triangle.toServerB)
    expect(triangle.adopted).toEqual(['b: the state of A'])
    const [, ...others] = offers
    expect(others.flatMap(bytesOf).map(isWiped)).toEqual([true, true, true, true])
  })

  test('that is passed on to the gateway itself: what the application says, when it has read it', async () => {
    const triangle = new Triangle()
    const offers = watch(triangle.coordinator)
    await triangle.move(triangle.here.destination)
    expect(triangle.adopted).toEqual(['gateway: the state of A'])
    expect(offers.map(({ application }) => isWiped(application))).toEqual([true])
  })
})

test('a connection that a server does not give after all, and what its application says', async () => {
  const triangle = new Triangle()
  triangle.journal.faults.set('a.silence', ['reject'])
  await triangle.move(triangle.toServerB)
  expect(resultOf(triangle.outcome)).toBe('rolled-back: take-refused')
  expect(queuesOf(triangle.offers).every(isWiped)).toBe(true)
  await triangle.origin.close()
  const { connection, flow, aToGateway: channel } = triangle
  const application = Uint8Array.of(1, 2, 3)
  const take = { type: 'take', handoff: 2, epoch: 9, flow, connection: arrival } as const
  expect(await triangle.origin.give({ connection, channel, gateway: toGateway, application }, take)).toMatchObject({
    result: 'kept',
  })
  expect(isWiped(application)).toBe(true)
})

function fault(call: string, how: Fault): (scene: Scene) => void {
  return (scene) => void scene.journal.faults.set(call, [how])
}
