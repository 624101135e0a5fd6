import { HandoffOrigin } from '../handoff/origin-driver.ts'
import { HandoffTarget } from '../handoff/target-driver.ts'
import type { Arrival } from '../ports.ts'
import type { HandoffReference, Message, ReportedConnection, TakeMessage } from '../protocol/messages.ts'
import { sameHandoff } from '../protocol/reference.ts'
import { decodePosition, encodePosition, ServedConnection } from './application.ts'
import { SimulatedOrigin, type SimulatedRestored, SimulatedRestorer } from './connection-ports.ts'
import type { LinkEnd, LinkUser } from './control-link.ts'
import type { SimulatedFlow } from './flow.ts'
import { rejected, SimulatedFailure, type SimulatedProcess } from './process.ts'
import { type FaultBudget, type Faults, SimulatedRedirector } from './redirector.ts'
import type { TcpSocket } from './tcp-socket.ts'
import { World } from './world.ts'

/** Longer than an application may take. */
const NEVER_IN_TIME = 300_000

/** A connection that this server has. */
interface Held {
  readonly flow: SimulatedFlow
  /** The handoff that brought it. */
  readonly reference: HandoffReference
  readonly served: ServedConnection
  /** `giving` from the gateway's `take` on; `released` when the gateway has said that it lives elsewhere. */
  state: 'serving' | 'yielded' | 'giving' | 'released'
  /** The gateway wants it at its next boundary. */
  recalled: boolean
}

/** A server's process: the target and the origin of handoffs, and an application. */
export class SimulatedServer implements LinkUser {
  readonly process: SimulatedProcess
  readonly target: HandoffTarget<SimulatedRestored>
  readonly origin: HandoffOrigin
  readonly #held = new Map<SimulatedFlow, Held>()
  /** Ends that the gateway was told of, or is to be. */
  readonly #ends: (HandoffReference & { readonly flow: SimulatedFlow })[] = []
  readonly #faults: FaultBudget
  #channel: LinkEnd | undefined

  constructor(process: SimulatedProcess, faults: Faults) {
    this.process = process
    this.#faults = faults.application
    const redirector = new SimulatedRedirector(process, faults.redirector)
    const { clock, world } = process
    const onError = (error: unknown, { step }: { step: string }): void => {
      if (!(error instanceof SimulatedFailure)) world.violate(8, `unexpected error at ${step}: ${error}`)
    }
    // Nobody here knows the connections of an earlier process.
    for (const rule of redirector.list()) process.kernel.remove(world.flowOf(rule.flow))
    this.origin = new HandoffOrigin({ redirector, clock, onError, limits: world.plan.limits.origin })
    this.target = new HandoffTarget({
      redirector,
      restorer: new SimulatedRestorer(process, faults.application),
      application: {
        adopt: (connection, application, arrival) => this.#adopt(connection, application, arrival),
        revoke: (arrival) => this.#revoke(arrival),
      },
      clock,
      authorise: () => true,
      maximumHandoffs: 16,
      supersede: (flow) => this.origin.supersede(flow),
      onError,
      limits: world.plan.limits.target,
    })
  }

  /** The connections that applications have here. */
  get held(): readonly Pick<Held, 'flow' | 'reference'>[] {
    return [...this.#held.values()]
  }

  onUp(channel: LinkEnd): void {
    this.#channel = channel
    for (const end of this.#ends) this.#tellEnd(end)
  }

  onDown(): void {
    // Whoever was to answer may be gone.
    for (const held of this.#held.values()) if (held.state === 'yielded') this.#resume(held)
  }

  onMessage(channel: LinkEnd, message: Message): void {
    switch (message.type) {
      case 'take':
        this.#take(channel, message)
        return
      case 'keep': {
        const held = this.#find(message)
        if (held?.state === 'yielded') this.#resume(held)
        return
      }
      case 'recall': {
        const held = this.#find(message)
        if (held?.state !== 'serving') return
        held.recalled = true
        const { consumed, written } = held.served.position
        const { requestLength, responseLength } = held.flow
        const boundary = consumed % requestLength === 0 && (consumed / requestLength) * responseLength === written
        if (boundary) this.#stepped(held, true)
        return
      }
      case 'audit':
        this.#send({ type: 'report', nonce: message.nonce, last: true, connections: this.#report(channel.host) })
        return
      default:
        if (message.type === 'release') this.#released(message)
        if (!this.origin.receive(channel, message)) this.target.receive(channel, message)
    }
  }

  #find(reference: HandoffReference): Held | undefined {
    for (const held of this.#held.values()) {
      if (sameHandoff(held.reference, reference)) return held
    }
    return undefined
  }

  #report(host: string): ReportedConnection[] {
    const connections = new Map<string, ReportedConnection>()
    for (const { flow, reference, state } of this.#held.values()) {
      if (state !== 'released') connections.set(flow.key.id, { flow: flow.key, ...reference, state: 'owned' })
    }
    for (const one of this.target.prepared(host)) connections.set(one.flow.id, one)
    for (const one of this.origin.offered(host)) connections.set(one.flow.id, one)
    return [...connections.values()]
  }

  #adopt(connection: SimulatedRestored, application: Uint8Array, arrival: Arrival): void | Promise<void> {
    return this.process.step('adopt', () => {
      const { world } = this.process
      const { socket } = connection
      if (socket.closed) throw new SimulatedFailure('the connection has ended')
      if (this.#faults.left > 0 && !world.calm && world.random.chance(0.3)) return this.#failToAdopt(socket.flow)
      const adopt = (): void => this.#serve(connection, application, arrival)
      if (world.random.chance(0.7)) return adopt()
      return new Promise((resolve, reject) => {
        world.queue.after(world.random.below(2000), () =>
          this.process.enter(() => {
            if (socket.closed) reject(new SimulatedFailure('the connection has ended'))
            else resolve(adopt())
          }),
        )
      })
    })
  }

  #failToAdopt(flow: SimulatedFlow): Promise<void> {
    this.#faults.left -= 1
    flow.causes.add('the application did not take it')
    const { queue, random } = this.process.world
    this.process.world.note(() => `${this.process.kernel.name}: the application does not take ${flow}`)
    if (random.chance(0.5)) return rejected(new SimulatedFailure('the application refuses'))
    return new Promise((resolve) => queue.after(NEVER_IN_TIME, () => this.process.enter(resolve)))
  }

  #serve({ socket, unsent }: SimulatedRestored, application: Uint8Array, { handoff, epoch }: Arrival): void {
    const { world } = this.process
    const served = new ServedConnection(world, socket, decodePosition(application))
    const reference = { handoff, epoch }
    const held: Held = { flow: socket.flow, reference, served, state: 'serving', recalled: false }
    this.#held.set(socket.flow, held)
    served.onStep = (boundary) => this.#stepped(held, boundary)
    onClose(socket, () => this.#closed(held))
    if (unsent.length > 0) socket.write(unsent)
    served.run()
  }

  /** The application stands between two reads or writes, where its connection can be given away. */
  #stepped(held: Held, boundary: boolean): void {
    const { random, calm } = this.process.world
    const wanted = held.recalled ? boundary || random.chance(0.5) : boundary && !calm && random.chance(0.05)
    if (!wanted || held.state !== 'serving' || !this.#channel?.connected) return
    held.served.pause()
    held.state = 'yielded'
    held.recalled = false
    const request = held.served.socket.received.copy()
    this.#send({ type: 'yield', ...held.reference, flow: held.flow.key, responding: !boundary, request })
  }

  #resume(held: Held): void {
    held.state = 'serving'
    held.served.resume()
  }

  #take(channel: LinkEnd, message: TakeMessage): void {
    const held = this.#find(message.connection)
    if (held?.state !== 'yielded') {
      const text = 'the connection does not stand at a boundary'
      this.#send({ type: 'refuse', handoff: message.handoff, epoch: message.epoch, reason: 'unknown', text })
      return
    }
    held.state = 'giving'
    const { served, flow } = held
    const connection = new SimulatedOrigin(this.process, served.socket)
    const application = encodePosition(served.position)
    this.origin.give({ connection, channel, gateway: World.steerTo(0), application }, message).then(({ result }) => {
      this.process.enter(() => {
        this.process.world.note(() => `${this.process.kernel.name}: ${flow} is ${result}`)
        if (result === 'given') this.#forget(held)
        else if (result === 'lost' || served.socket.closed) this.#end(held)
        else this.#resume(held)
      })
    })
  }

  #released(reference: HandoffReference): void {
    for (const one of this.origin.offered('gateway')) {
      if (!sameHandoff(one, reference)) continue
      const held = this.#held.get(this.process.world.flowOf(one.flow))
      if (held !== undefined) held.state = 'released'
    }
  }

  #closed(held: Held): void {
    if (held.state === 'serving' || held.state === 'yielded') this.#end(held)
  }

  #end(held: Held): void {
    this.#forget(held)
    const end = { ...held.reference, flow: held.flow }
    this.#ends.push(end)
    this.#tellEnd(end)
  }

  #tellEnd({ flow, ...reference }: HandoffReference & { readonly flow: SimulatedFlow }): void {
    if (this.process.alive) this.#send({ type: 'ended', ...reference, flow: flow.key })
  }

  #forget(held: Held): void {
    if (this.#held.get(held.flow) === held) this.#held.delete(held.flow)
  }

  #revoke(arrival: Omit<Arrival, 'flow'>): void {
    this.#find(arrival)?.served.socket.close('revoked')
  }

  #send(message: Message): void {
    if (!this.#channel?.connected) return
    try {
      this.#channel.send(message)
    } catch (error) {
      if (!(error instanceof SimulatedFailure)) throw error
    }
  }
}

/** Adds to what happens when the socket closes. */
export function onClose(socket: TcpSocket, then: () => void): void {
  const before = socket.onClosed
  socket.onClosed = (reason) => {
    before(reason)
    then()
  }
}
