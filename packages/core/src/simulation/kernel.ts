import type { Rule, SteerRule } from '../redirector.ts'
import type { SimulatedFlow } from './flow.ts'
import type { Receiver } from './network.ts'
import { describePacket, NO_BYTES, type Packet } from './packet.ts'
import type { SocketHost, TcpSocket } from './tcp-socket.ts'
import { World } from './world.ts'

/** A rule in force, and the packets of both directions that it has stored. */
interface ActiveRule {
  readonly rule: Rule
  readonly stored: Packet[]
}

/** A host's kernel: its sockets, and the rules on its device, which a packet meets on its way in and out. */
export class Kernel implements SocketHost, Receiver {
  readonly name: string
  readonly index: number
  readonly sockets = new Map<SimulatedFlow, TcpSocket>()
  /** Whether the host runs, and whether a process has its redirector open: held packets are stored only then. */
  up = true
  attended = false
  /** How many processes have had its redirector open. */
  processes = 0
  readonly #world: World
  readonly #rules = new Map<SimulatedFlow, ActiveRule>()
  readonly #boot: number

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
    this.index = world.kernels.size
    this.#boot = world.random.next()
    world.kernels.set(name, this)
  }

  get queue() {
    return this.#world.queue
  }

  get timestampClock(): number {
    return (this.#boot + Math.floor(this.#world.queue.now / 1000)) >>> 0
  }

  acknowledgementDelay(): number {
    const { random } = this.#world
    return random.chance(0.2) ? random.between(1000, 10_000) : 0
  }

  rule(flow: SimulatedFlow): Rule | undefined {
    return this.#rules.get(flow)?.rule
  }

  /** Whether this host has a socket of the flow whose words reach the client. */
  canSpeak(flow: SimulatedFlow): boolean {
    const socket = this.sockets.get(flow)
    return socket !== undefined && !socket.frozen && !this.#rules.has(flow)
  }

  *rules(): Iterable<Rule> {
    for (const { rule } of this.#rules.values()) yield rule
  }

  /** Inserts or replaces a rule, in one step. */
  put(flow: SimulatedFlow, rule: Rule): void {
    const stored = this.#rules.get(flow)?.stored ?? []
    this.#world.note(() => `${this.name}: rule ${describeRule(rule)} for ${flow}`)
    if (rule.action === 'hold') {
      this.#rules.set(flow, { rule, stored })
      return
    }
    this.#world.checkSpeakers(flow)
    this.#rules.set(flow, { rule, stored: [] })
    if (this.name === 'gateway') flow.speaker = World.hostOf(rule.target)
    if (this.#world.sabotage === 'drop-held-packets') return
    for (const packet of stored) {
      if (packet.toClient) this.#send(packet)
      else this.#forward(rule, packet)
    }
  }

  remove(flow: SimulatedFlow): boolean {
    const active = this.#rules.get(flow)
    if (active === undefined) return false
    this.#world.note(() => `${this.name}: no rule for ${flow} any more`)
    this.#rules.delete(flow)
    if (this.name === 'gateway') flow.speaker = 'gateway'
    this.#world.checkSpeakers(flow)
    for (const packet of active.stored) {
      if (packet.toClient) this.#send(packet)
      else this.#toStack(packet)
    }
    return true
  }

  /** A packet arrives at the device. */
  input(packet: Packet): void {
    if (!this.up) return
    const active = this.#rules.get(packet.flow)
    if (active === undefined) this.#toStack(packet)
    else if (active.rule.action === 'steer') this.#forward(active.rule, packet)
    else this.#store(active, packet)
  }

  /** A socket of this host says something. */
  transmit(socket: TcpSocket, packet: Packet): void {
    if (!this.up) return
    const active = this.#rules.get(packet.flow)
    if (active === undefined) {
      this.#check(socket, packet)
      this.#send(packet)
      return
    }
    if (active.rule.action === 'steer' || active.rule.silent || packet.rst) return
    if (socket.silenced) this.#world.violate(5, `${packet.flow}: what a frozen socket at ${this.name} says is stored`)
    this.#store(active, packet)
  }

  /** The process that had the sockets and the redirector is gone. The rules stay. */
  killProcess(silently = false): void {
    this.attended = false
    for (const { stored } of this.#rules.values()) stored.length = 0
    for (const [flow, socket] of [...this.sockets]) {
      if (socket.shared && !socket.frozen && !silently) continue
      // What is given away already is in repair mode. A target that dies may be told of the commit by nobody, and a copy at the gateway
      // is one until its rule is removed: then the gateway speaks.
      const needed = flow.speaker === this.name || (this.name !== 'gateway' && !socket.frozen)
      if (needed) flow.causes.add(`a process at ${this.name} died with its socket`)
      this.sockets.delete(flow)
      if (socket.frozen || silently) socket.close('its process died')
      else socket.reset('its process died')
    }
  }

  /** Power off: nothing is left, and nothing is said. */
  killHost(): void {
    this.up = false
    this.killProcess(true)
    this.#rules.clear()
  }

  #store({ stored }: ActiveRule, packet: Packet): void {
    if (!this.attended) return
    stored.push(packet)
    if (packet.bytes.length > 0 && !packet.toClient) this.#world.held.push(packet)
  }

  #forward(rule: SteerRule, packet: Packet): void {
    if (rule.returning) packet.hops -= 1
    if (packet.hops < 0) {
      this.#world.note(() => `${this.name}: has come by too often: ${describePacket(packet)}`)
      return
    }
    const target = this.#world.kernels.get(World.hostOf(rule.target)) as Kernel
    this.#world.network.send(this, target, packet)
  }

  /** What the device lets pass may take a moment to its socket. */
  #toStack(packet: Packet): void {
    const socket = this.sockets.get(packet.flow)
    if (socket?.frozen && !packet.flow.mayEnd) {
      this.#world.violate(1, `${packet.flow}: a packet meets a frozen socket at ${this.name}`)
    }
    const { random } = this.#world
    if (random.chance(0.1)) this.queue.after(random.below(100), () => this.#deliver(packet))
    else this.#deliver(packet)
  }

  #deliver(packet: Packet): void {
    if (!this.up) return
    const { flow } = packet
    const socket = this.sockets.get(flow)
    if (socket !== undefined) {
      this.#world.note(() => `${this.name} gets ${describePacket(packet)}`)
      packet.reached = true
      socket.input(packet)
      return
    }
    if (packet.rst) return
    if (!flow.mayEnd) this.#world.violate(1, `${flow}: RST from ${this.name}, which has no socket`)
    this.#world.note(() => `${this.name} has no socket, and answers RST to ${describePacket(packet)}`)
    this.#send({
      ...packet,
      toClient: true,
      from: this.name,
      sequence: packet.acknowledgement,
      acknowledgement: (packet.sequence + packet.bytes.length) >>> 0,
      bytes: NO_BYTES,
      fin: false,
      rst: true,
    })
  }

  /** Only the host that has the connection may speak to the client. */
  #check(socket: TcpSocket, packet: Packet): void {
    const { flow } = packet
    if (packet.rst || flow.mayEnd) return
    if (flow.speaker !== this.name) {
      this.#world.violate(3, `${flow}: ${this.name} speaks, and ${flow.speaker} has the connection`)
    } else if (socket.frozen) {
      this.#world.violate(5, `${flow}: a frozen socket at ${this.name} is heard`)
    }
  }

  #send(packet: Packet): void {
    this.#world.network.send(this, this.#world.clientOf(packet.flow), packet)
  }
}

function describeRule(rule: Rule): string {
  const reference = rule.handoff ? ` (${rule.handoff.epoch}/${rule.handoff.handoff})` : ''
  if (rule.action === 'hold') return `${rule.silent ? 'silent hold' : 'hold'}${reference}`
  return `steer to ${World.hostOf(rule.target)}${rule.ended ? ' ended' : ''}${rule.returning ? ' returning' : ''}${reference}`
}
