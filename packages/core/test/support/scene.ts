import { expect } from 'bun:test'
import {
  type Channel,
  encodeMessage,
  FlowKey,
  FrameDecoder,
  type HandOffOptions,
  HandoffCoordinator,
  type HandoffDestination,
  type HandoffOutcome,
  HandoffTarget,
  MacAddress,
  type Message,
  type OutgoingMessage,
  type Refusal,
  type TcpSnapshot,
} from '../../src/index.ts'
import { FakeClock } from './fake-clock.ts'
import { FakeOriginConnection, FakeRestoredConnection, FakeRules, Journal } from './fake-host.ts'

/** One direction's end of a channel in memory. Messages are encoded and decoded on their way. */
export class MemoryChannel implements Channel {
  connected = true
  /** Makes `send` throw although the channel is connected. */
  full = false
  /** What becomes of a message: the messages that arrive in its place. */
  filter: (message: Message) => Message[] = (message) => [message]
  #decoder = new FrameDecoder()
  #queue: Message[] = []

  constructor(
    readonly host: string,
    readonly deliver: (message: Message) => void,
  ) {}

  send(message: OutgoingMessage): void {
    if (!this.connected || this.full) throw new Error(`no room for a message to ${this.host}`)
    this.#queue.push(...this.#decoder.push(encodeMessage(message)))
  }

  /** Delivers what is on its way. False when there was nothing. */
  flush(): boolean {
    const queue = this.#queue.splice(0)
    for (const message of queue) for (const arriving of this.filter(message)) if (this.connected) this.#arrive(arriving)
    return queue.length > 0
  }

  cut(): void {
    this.connected = false
    this.#queue = []
  }

  /** Whoever gets a message may overwrite it: one that comes twice is not the same object. */
  #arrive(message: Message): void {
    for (const copy of new FrameDecoder().push(encodeMessage(message))) this.deliver(copy)
  }
}

export function flowNumber(number: number): FlowKey {
  return FlowKey.of({ address: '192.0.2.7', port: 1024 + number }, { address: '198.51.100.1', port: 80 })
}

export function snapshotOf(flow: FlowKey): TcpSnapshot {
  return {
    flow,
    options: { maximumSegmentSize: 1460, selectiveAcknowledgement: true },
    window: { sendLastUpdate: 1, sendWindow: 500, maximumWindow: 500, receiveWindow: 500, receiveLastUpdate: 104 },
    send: { sequence: 1, sent: Uint8Array.of(1, 2), unsent: Uint8Array.of(3) },
    receive: { sequence: 100, queue: Uint8Array.of(4, 5, 6, 7) },
  }
}

/** A gateway and a server on fake ports, with a channel between them. */
export class Scene {
  readonly clock = new FakeClock()
  readonly journal = new Journal()
  readonly gatewayRules = new FakeRules('gateway', this.journal)
  readonly serverRules = new FakeRules('server', this.journal)
  readonly connections: FakeOriginConnection[] = []
  readonly restored: FakeRestoredConnection[] = []
  readonly outcomes: HandoffOutcome[] = []
  readonly errors: string[] = []
  readonly adopted: { flow: string; application: string; host: string }[] = []
  readonly toServer = new MemoryChannel('server', (message) => this.target.receive(this.toGateway, message))
  readonly toGateway = new MemoryChannel('gateway', (message) => this.origin.receive(this.toServer, message))
  origin: HandoffCoordinator
  target: HandoffTarget<FakeRestoredConnection>
  #begun = 0
  authorise: (flow: FlowKey, host: string) => boolean = () => true
  refuse: (application: Uint8Array) => Refusal | undefined = () => undefined

  constructor({ maximumHandoffs = 100, maximumBytes = 1e9 } = {}) {
    const { clock, journal } = this
    const onError = (error: unknown, { step }: { step: string }): void => {
      this.errors.push(`${step}: ${error instanceof Error ? error.message : error}`)
    }
    this.origin = new HandoffCoordinator({ redirector: this.gatewayRules, clock, epoch: 1, onError })
    this.target = new HandoffTarget({
      redirector: this.serverRules,
      clock,
      onError,
      maximumHandoffs,
      maximumBytes,
      authorise: (flow, host) => this.authorise(flow, host),
      refuse: (application) => this.refuse(application),
      restorer: { restore: (snapshot) => journal.sync('server.restore', () => this.#restore(snapshot)) },
      application: {
        adopt: (connection, application, { host }) => {
          const succeed = (): void => {
            if (connection.state !== 'restored') return
            connection.state = 'owned'
            this.adopted.push({ flow: connection.flow.id, application: new TextDecoder().decode(application), host })
          }
          if (journal.faults.get('server.adopt')?.[0] === 'throw') return journal.sync('server.adopt', succeed)
          return journal.async('server.adopt', succeed)
        },
      },
    })
    journal.check = () => this.#checkInvariants()
  }

  /** The way to the server. */
  get destination(): HandoffDestination {
    return { channel: this.toServer, steer: { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:02') } }
  }

  /** The connection of that number, as it lives at the gateway. */
  connection(number: number): FakeOriginConnection {
    const flow = flowNumber(number)
    const known = this.connections.find((one) => one.flow.equals(flow) && one.state === 'live')
    const connection = known ?? new FakeOriginConnection(flow, snapshotOf(flow), this.journal)
    if (!known) this.connections.push(connection)
    return connection
  }

  handOff(number = 1, options: HandOffOptions = {}): FakeOriginConnection {
    const connection = this.connection(number)
    this.#begun += 1
    this.origin
      .handOff(connection, this.destination, new TextEncoder().encode(`request ${number}`), options)
      .then((outcome) => {
        this.outcomes.push(outcome)
      })
    return connection
  }

  cut(): void {
    this.toServer.cut()
    this.toGateway.cut()
    this.origin.channelLost(this.toServer)
  }

  reconnect(): void {
    this.toServer.connected = true
    this.toGateway.connected = true
    this.origin.channelUp(this.toServer)
  }

  /** Runs promises and messages until nothing moves. */
  settle = async (): Promise<void> => {
    for (let quiet = 0; quiet < 8; quiet++) {
      await Promise.resolve()
      if (this.toServer.flush() || this.toGateway.flush()) quiet = 0
    }
  }

  /** Lets pass more time than all limits together. */
  async finish(): Promise<void> {
    await this.settle()
    await this.clock.advance(40_000, this.settle)
    await this.settle()
    expect(this.journal.violations).toEqual([])
  }

  count(state: FakeOriginConnection['state'] | FakeRestoredConnection['state']): number {
    return [...this.connections, ...this.restored].filter((one) => one.state === state).length
  }

  /** Nothing is left in progress: no timer, no lock, no socket that nobody owns. */
  checkNothingLeaks(): void {
    expect(this.outcomes).toHaveLength(this.#begun)
    expect([this.clock.pending, this.origin.size, this.origin.inFlight, this.target.inFlight]).toEqual([0, 0, 0, 0])
    expect([this.count('frozen'), this.count('restored')]).toEqual([0, 0])
    expect(
      [...this.gatewayRules.rules.values(), ...this.serverRules.rules.values()].filter(
        (rule) => rule.action === 'hold',
      ),
    ).toEqual([])
    expect(this.gatewayRules.rules.size).toBe(this.outcomes.filter((outcome) => outcome.result === 'handed-off').length)
  }

  #restore(snapshot: TcpSnapshot): FakeRestoredConnection {
    const connection = new FakeRestoredConnection(snapshot, 'server', this.journal)
    this.restored.push(connection)
    return connection
  }

  #checkInvariants(): void {
    const { violations, faults } = this.journal
    for (const { flow, state } of this.connections) {
      // Invariants 1, 5, 7: no frozen socket without a rule in front of it, unless the connection is beyond help.
      const unknown = faults.has('origin.thaw') || faults.get('gateway.steer')?.includes('hang')
      const stuck = faults.get('gateway.unsilence')?.at(-1) !== undefined
      const lost = this.gatewayRules.steered.has(flow.id) || unknown || stuck
      if (state === 'frozen' && this.gatewayRules.of(flow) === 'none' && !lost) violations.push('frozen without a lock')
      if (state === 'live' && this.gatewayRules.of(flow) === 'steer') violations.push('live behind a steer rule')
      // Invariant 8: the next process would give it to the target.
      const prepared = this.restored.some((one) => one.flow.equals(flow) && one.state === 'restored')
      if (state === 'live' && prepared && this.gatewayRules.isSilent(flow)) violations.push('live behind a silent lock')
    }
    for (const { flow, state } of this.restored) {
      // Invariants 1 and 3: before the commit a restored socket is behind a lock, and nobody owns it.
      const committed = this.gatewayRules.of(flow) === 'steer'
      if (state === 'restored' && this.serverRules.of(flow) !== 'hold' && !committed)
        violations.push('restored without a lock')
      if (state === 'owned' && !this.gatewayRules.steered.has(flow.id)) violations.push('owned before the commit')
    }
  }
}
