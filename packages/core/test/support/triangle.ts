import { expect } from 'bun:test'
import {
  type FlowKey,
  HandoffCoordinator,
  type HandoffDestination,
  HandoffOrigin,
  type HandoffOutcome,
  HandoffTarget,
  type L2Target,
  LocalTarget,
  MacAddress,
  type Message,
  type OriginOutcome,
  type TcpSnapshot,
  type YieldedConnection,
} from '../../src/index.ts'
import { FakeClock } from './fake-clock.ts'
import { FakeOriginConnection, FakeRestoredConnection, FakeRules, Journal } from './fake-host.ts'
import { flowNumber, MemoryChannel, snapshotOf } from './scene.ts'

export const arrival = { handoff: 5, epoch: 9 }
export const toGateway: L2Target = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') }
export const toA: L2Target = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:0a') }
export const toB: L2Target = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:0b') }

/** A gateway that has steered flow 1 to server A, which gives it, and server B, which takes it. The gateway can take it, too. */
export class Triangle {
  readonly flow = flowNumber(1)
  readonly clock = new FakeClock()
  readonly journal = new Journal()
  readonly gatewayRules = new FakeRules('gateway', this.journal)
  readonly aRules = new FakeRules('a', this.journal)
  readonly bRules = new FakeRules('b', this.journal)
  readonly errors: string[] = []
  readonly restored: FakeRestoredConnection[] = []
  readonly adopted: string[] = []
  /** The gateway's ends of the channels, and theirs. */
  readonly channelToA = new MemoryChannel('a', (message) => this.atA(message))
  readonly channelToB = new MemoryChannel('b', (message) => this.target.receive(this.bToGateway, message))
  readonly aToGateway = new MemoryChannel('gateway', (message) => this.coordinator.receive(this.channelToA, message))
  readonly bToGateway = new MemoryChannel('gateway', (message) => this.coordinator.receive(this.channelToB, message))
  readonly connection: FakeOriginConnection
  readonly coordinator: HandoffCoordinator
  readonly origin: HandoffOrigin
  readonly target: HandoffTarget<FakeRestoredConnection>
  readonly here: LocalTarget<FakeRestoredConnection>
  readonly given: OriginOutcome[] = []
  outcome: HandoffOutcome | undefined
  /** What A offers instead of the right connection. */
  offers: TcpSnapshot

  constructor() {
    const { clock, journal, flow } = this
    const onError = (error: unknown, { step }: { step: string }): void => void this.errors.push(`${step}: ${error}`)
    this.offers = snapshotOf(flow)
    this.connection = new FakeOriginConnection(flow, this.offers, journal)
    this.coordinator = new HandoffCoordinator({ redirector: this.gatewayRules, clock, epoch: 9, onError })
    this.origin = new HandoffOrigin({ redirector: this.aRules, clock, onError })
    const takes = { clock, onError, maximumHandoffs: 8, authorise: () => true }
    this.target = new HandoffTarget({ ...takes, redirector: this.bRules, ...this.#application('b') })
    this.here = new LocalTarget('gateway', this.coordinator, {
      ...takes,
      redirector: this.gatewayRules,
      ...this.#application('gateway'),
    })
    this.gatewayRules.rules.set(flow.id, { action: 'steer', flow, target: toA, handoff: arrival })
  }

  get yielded(): YieldedConnection {
    return { flow: this.flow, channel: this.channelToA, connection: arrival, steer: toA }
  }

  get toServerB(): HandoffDestination {
    return { channel: this.channelToB, steer: toB }
  }

  /** The connection at A goes somewhere, until nothing moves any more; time stands still. */
  async move(destination: HandoffDestination): Promise<void> {
    this.coordinator.handOff(this.yielded, destination, new Uint8Array()).then((outcome) => {
      this.outcome = outcome
    })
    await this.settle()
  }

  settle = async (): Promise<void> => {
    const channels = [this.channelToA, this.channelToB, this.aToGateway, this.bToGateway]
    for (let quiet = 0; quiet < 10; quiet++) {
      await Promise.resolve()
      if (channels.map((channel) => channel.flush()).includes(true)) quiet = 0
    }
  }

  async pass(milliseconds: number): Promise<void> {
    await this.clock.advance(milliseconds, this.settle)
    await this.settle()
    expect(this.journal.violations).toEqual([])
  }

  cutA(): void {
    this.channelToA.cut()
    this.aToGateway.cut()
    this.coordinator.channelLost(this.channelToA)
  }

  reconnectA(): void {
    this.channelToA.connected = true
    this.aToGateway.connected = true
    this.coordinator.channelUp(this.channelToA)
  }

  /** The rule of a host, in words. */
  rule(rules: FakeRules, flow: FlowKey = this.flow): string {
    const rule = rules.rules.get(flow.id)
    if (rule === undefined) return 'none'
    if (rule.action === 'hold') return rule.silent ? 'silent hold' : 'hold'
    const reference = rule.handoff ? ` ${rule.handoff.epoch}/${rule.handoff.handoff}` : ''
    return `${rule.returning ? 'return' : 'steer'} to ${(rule.target as L2Target).mac}${reference}`
  }

  /** Nothing is left in progress anywhere. */
  checkNothingLeaks(): void {
    expect([this.coordinator.size, this.origin.size, this.target.inFlight, this.clock.pending]).toEqual([0, 0, 0, 0])
    expect([this.aRules.rules.size, this.bRules.rules.size]).toEqual([0, 0])
    expect(this.connection.state).not.toBe('frozen')
    expect(this.restored.filter(({ state }) => state === 'restored')).toEqual([])
  }

  atA(message: Message): void {
    if (message.type === 'take') {
      const gift = {
        connection: Object.assign(this.connection, { content: this.offers }),
        channel: this.aToGateway,
        gateway: toGateway,
        application: new TextEncoder().encode('the state of A'),
      }
      this.origin.give(gift, message).then((outcome) => this.given.push(outcome))
    } else this.origin.receive(this.aToGateway, message)
  }

  #application(host: string) {
    const restore = (snapshot: TcpSnapshot): FakeRestoredConnection => {
      return this.journal.sync(`${host}.restore`, () => {
        const connection = new FakeRestoredConnection(snapshot, host, this.journal)
        this.restored.push(connection)
        return connection
      })
    }
    const adopt = (connection: FakeRestoredConnection, application: Uint8Array): void => {
      this.journal.sync(`${host}.adopt`, () => {
        connection.state = 'owned'
        this.adopted.push(`${host}: ${new TextDecoder().decode(application)}`)
      })
    }
    return { restorer: { restore }, application: { adopt } }
  }
}
