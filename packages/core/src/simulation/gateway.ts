import { HandoffCoordinator } from '../handoff/coordinator-driver.ts'
import { LocalTarget } from '../handoff/local-target.ts'
import type { HandoffDestination, HandoffOutcome } from '../handoff/outcome.ts'
import type { OriginConnection, YieldedConnection } from '../ports.ts'
import type { EndedMessage, HandoffReference, Message, YieldMessage } from '../protocol/messages.ts'
import { sameHandoff } from '../protocol/reference.ts'
import { decodePosition, encodePosition, ServedConnection } from './application.ts'
import { SimulatedOrigin, type SimulatedRestored, SimulatedRestorer } from './connection-ports.ts'
import type { LinkEnd, LinkUser } from './control-link.ts'
import type { SimulatedFlow } from './flow.ts'
import type { SteeredConnection } from './flow-entry.ts'
import type { Front } from './front.ts'
import { mend } from './mend.ts'
import { LINGER, SERVER_TIMEOUT } from './plan.ts'
import { SimulatedFailure, type SimulatedProcess } from './process.ts'
import { Recovery } from './recovery.ts'
import { type Faults, SimulatedRedirector } from './redirector.ts'
import { onClose } from './server.ts'
import type { TcpSocket } from './tcp-socket.ts'
import { hostNames, World } from './world.ts'

/** A server as the gateway's process knows it. */
export interface KnownServer {
  readonly name: string
  channel: LinkEnd | undefined
  instance: number
  /** Counts how often it has gone, so that a time limit knows whether it is still meant. */
  outages: number
}

/** Told of each handoff that is over. */
export type OutcomeListener = (direction: string, outcome: HandoffOutcome) => void

const NOTHING = new Uint8Array()

/** A gateway's process: accepts connections and answers them itself, hands them to servers, and has them moved on. */
export class SimulatedGateway implements LinkUser {
  readonly process: SimulatedProcess
  readonly coordinator: HandoffCoordinator
  readonly redirector: SimulatedRedirector
  readonly flows = new Map<SimulatedFlow, SteeredConnection>()
  readonly servers: readonly KnownServer[]
  readonly recovery: Recovery
  /** What this process serves itself, and what the program in front of it does. */
  readonly #served = new Map<SimulatedFlow, ServedConnection>()
  readonly #front: Front | undefined
  readonly #here: LocalTarget<SimulatedRestored>
  readonly #onOutcome: OutcomeListener

  constructor(
    process: SimulatedProcess,
    epoch: number,
    { redirector, application }: Faults,
    onOutcome: OutcomeListener,
    front?: Front,
  ) {
    this.process = process
    this.#front = front
    if (front) front.gateway = this
    this.#onOutcome = onOutcome
    const { world, clock } = process
    this.redirector = new SimulatedRedirector(process, redirector)
    this.servers = hostNames.slice(1, 1 + world.plan.servers).map((name) => {
      return { name, channel: undefined, instance: 0, outages: 0 }
    })
    const onError = (error: unknown, { step }: { step: string }): void => {
      if (!(error instanceof SimulatedFailure)) world.violate(8, `unexpected error at ${step}: ${error}`)
    }
    this.coordinator = new HandoffCoordinator({
      redirector: this.redirector,
      clock,
      epoch,
      onError,
      limits: world.plan.limits.coordinator,
    })
    this.#here = new LocalTarget('gateway', this.coordinator, {
      redirector: this.redirector,
      restorer: new SimulatedRestorer(process, application),
      application: { adopt: (connection, application) => this.#adopt(connection, application) },
      clock,
      authorise: () => true,
      maximumHandoffs: 16,
      onError,
      limits: world.plan.limits.target,
    })
    this.recovery = new Recovery(this)
  }

  /** Whether this process has the connection. */
  has(flow: SimulatedFlow): boolean {
    return this.#served.has(flow)
  }

  /** A client has connected. */
  accept(socket: TcpSocket): void {
    const served = new ServedConnection(this.process.world, socket, { consumed: 0, written: 0 })
    if (this.#front) this.#front.accept(served)
    else this.#serve(served)
  }

  /** The connection is to go somewhere else. */
  order(flow: SimulatedFlow): void {
    const entry = this.flows.get(flow)
    const target = this.process.world.random.pick(this.servers)
    const served = this.#served.get(flow) ?? this.#front?.served.get(flow)
    if (served !== undefined && entry === undefined && !this.recovery.isMending(flow)) this.#handOff(served, target)
    else if (entry?.state === 'steered') {
      this.send(entry.server, { type: 'recall', ...entry.reference, flow: flow.key })
    }
  }

  onUp(channel: LinkEnd, instance: number): void {
    const server = this.#server(channel)
    const restarted = server.instance !== 0 && server.instance !== instance
    server.channel = channel
    server.instance = instance
    if (restarted) this.#lost(server, 'the server has started anew')
    this.coordinator.channelUp(channel)
    this.recovery.ask(server)
  }

  onDown(channel: LinkEnd): void {
    const server = this.#server(channel)
    server.outages += 1
    const { outages } = server
    this.coordinator.channelLost(channel)
    this.process.clock.after(SERVER_TIMEOUT, () => {
      if (channel.connected || server.outages !== outages) return
      for (const flow of this.process.world.flows) flow.causes.add(`${server.name} was away for too long`)
      this.#lost(server, 'the server is gone')
    })
  }

  onMessage(channel: LinkEnd, message: Message): void {
    if (message.type === 'yield') this.#yielded(channel, message)
    else if (message.type === 'ended') this.#told(channel, message)
    else if (message.type === 'report') this.recovery.reported(this.#server(channel), message)
    else this.coordinator.receive(channel, message)
  }

  /** The connection lives at the server from now on. */
  assign(flow: SimulatedFlow, server: KnownServer, reference: HandoffReference): SteeredConnection {
    const entry: SteeredConnection = { flow, server, reference, state: 'steered', instance: server.instance }
    this.flows.set(flow, entry)
    return entry
  }

  /** The connection has ended: its rule stays for a while, for late packets. */
  end(entry: SteeredConnection): void {
    const { flow, server } = entry
    if (this.flows.get(flow) !== entry || entry.state === 'ended') return
    entry.state = 'ended'
    this.coordinator.ended(flow.key)
    const target = World.steerTo(hostNames.indexOf(server.name))
    this.mend(
      () => this.redirector.put({ action: 'steer', flow: flow.key, target, ended: true }),
      () => void this.process.clock.after(LINGER, () => this.forget(entry)),
    )
  }

  /** Without a rule, its client learns from this host's stack what has become of it. */
  forget(entry: SteeredConnection): void {
    if (this.flows.get(entry.flow) !== entry) return
    this.flows.delete(entry.flow)
    if (this.process.world.sabotage !== 'keep-stale-rule') this.mend(() => this.redirector.remove(entry.flow.key))
  }

  /** An operation of the redirector that has to succeed. */
  mend(operate: () => Promise<unknown>, then?: () => void): void {
    mend(this.process, operate, then)
  }

  send({ channel }: KnownServer, message: Message): void {
    if (!channel?.connected || !this.process.alive) return
    try {
      channel.send(message)
    } catch (error) {
      if (!(error instanceof SimulatedFailure)) throw error
    }
  }

  #server({ host }: LinkEnd): KnownServer {
    return this.servers.find(({ name }) => name === host) as KnownServer
  }

  #destination(server: KnownServer): HandoffDestination | undefined {
    if (server.channel === undefined) return undefined
    return { channel: server.channel, steer: World.steerTo(hostNames.indexOf(server.name)) }
  }

  /** Its process took its connections with it. */
  #lost(server: KnownServer, text: string): void {
    if (server.channel !== undefined) this.coordinator.targetLost(server.channel, text)
    for (const entry of [...this.flows.values()]) {
      if (entry.server === server && entry.state === 'steered') this.forget(entry)
    }
  }

  #serve(served: ServedConnection, unsent: Uint8Array = NOTHING): void {
    const { socket } = served
    this.#served.set(socket.flow, served)
    onClose(socket, () => {
      if (this.#served.get(socket.flow) === served) this.#served.delete(socket.flow)
      this.process.enter(() => this.coordinator.clientGone(socket.flow.key))
    })
    if (unsent.length > 0) socket.write(unsent)
    served.run()
  }

  #adopt({ socket, unsent }: SimulatedRestored, application: Uint8Array): void {
    this.process.step('adopt', () => {
      if (socket.closed) throw new SimulatedFailure('the connection has ended')
      this.#serve(new ServedConnection(this.process.world, socket, decodePosition(application)), unsent)
    })
  }

  #handOff(served: ServedConnection, server: KnownServer): void {
    const destination = this.#destination(server)
    if (destination === undefined || served.paused) return
    const { flow, socket } = served
    served.pause()
    const entry: SteeredConnection = {
      flow,
      server,
      reference: { handoff: 0, epoch: 0 },
      state: 'moving',
      instance: server.instance,
    }
    this.flows.set(flow, entry)
    const connection = new SimulatedOrigin(this.process, socket)
    this.#run('gateway-to-server', flow, connection, destination, encodePosition(served.position), (outcome) => {
      this.flows.delete(flow)
      if (outcome.result === 'handed-off') {
        // What is left of it here is frozen.
        this.#served.delete(flow)
        this.#front?.served.delete(flow)
        this.#arrived(entry, server, outcome)
      } else if (outcome.result === 'rolled-back') {
        this.recovery.sweep(flow)
        served.resume()
      }
    })
  }

  #yielded(channel: LinkEnd, message: YieldMessage): void {
    const { world } = this.process
    const flow = world.flowOf(message.flow)
    const from = this.#server(channel)
    const entry = this.flows.get(flow)
    const keep = (): void => this.send(from, { type: 'keep', handoff: message.handoff, epoch: message.epoch })
    const known = entry?.state === 'steered' && entry.server === from && sameHandoff(entry.reference, message)
    const to = world.random.pick([...this.servers.filter((server) => server !== from), 'gateway', 'gateway'] as const)
    const destination = to === 'gateway' ? this.#here.destination : this.#destination(to)
    if (!known || destination === undefined || world.random.chance(0.1)) {
      keep()
      return
    }
    entry.state = 'moving'
    const steer = World.steerTo(hostNames.indexOf(from.name))
    const connection = { flow: flow.key, channel, connection: entry.reference, steer }
    const direction = to === 'gateway' ? 'server-to-gateway' : 'server-to-server'
    this.#run(direction, flow, connection, destination, NOTHING, (outcome) => {
      if (outcome.result === 'handed-off' && to !== 'gateway') this.#arrived(entry, to, outcome)
      else if (outcome.result === 'rolled-back') this.#stays(entry, keep)
      else this.flows.delete(flow)
    })
  }

  #run(
    direction: string,
    flow: SimulatedFlow,
    connection: OriginConnection | YieldedConnection,
    destination: HandoffDestination,
    application: Uint8Array,
    then: (outcome: HandoffOutcome) => void,
  ): void {
    const { world } = this.process
    this.coordinator.handOff(connection, destination, application).then((outcome) =>
      this.process.enter(() => {
        const { result, handoff, failure } = outcome
        world.note(
          () => `gateway: ${flow} ${direction} ${handoff}: ${result} ${failure?.reason ?? ''} ${failure?.text ?? ''}`,
        )
        if (result === 'lost' && !flow.mayEnd) world.violate(4, `${flow}: lost, ${failure?.reason}: ${failure?.text}`)
        if (result === 'lost') flow.causes.add('its handoff was lost')
        this.#onOutcome(direction, outcome)
        then(outcome)
      }),
    )
  }

  #arrived(moved: SteeredConnection, server: KnownServer, { handoff }: HandoffOutcome): void {
    const entry = this.assign(moved.flow, server, { handoff, epoch: this.coordinator.epoch })
    if (sameHandoff(moved.end, entry.reference)) this.end(entry)
  }

  #stays(entry: SteeredConnection, keep: () => void): void {
    entry.state = 'steered'
    keep()
    if (sameHandoff(entry.end, entry.reference)) this.end(entry)
    else if (entry.instance !== entry.server.instance) this.forget(entry)
  }

  /** A server says that a connection has ended. */
  #told(channel: LinkEnd, message: EndedMessage): void {
    const entry = this.flows.get(this.process.world.flowOf(message.flow))
    if (entry === undefined) return
    const { handoff, epoch } = message
    if (entry.state === 'moving') entry.end = { handoff, epoch }
    else if (entry.server === this.#server(channel) && sameHandoff(entry.reference, message)) this.end(entry)
  }
}
