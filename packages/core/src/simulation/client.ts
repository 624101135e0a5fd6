import { findWrongByte, ramp, type SimulatedFlow } from './flow.ts'
import type { Kernel } from './kernel.ts'
import type { Receiver } from './network.ts'
import { describePacket, NO_BYTES, type Packet } from './packet.ts'
import { type SocketHost, TcpSocket } from './tcp-socket.ts'
import { hostNames, type World } from './world.ts'

/** What one client does. */
export interface ClientPlan {
  /** Requests that it sends before the response to the first is complete. */
  readonly pipelining: number
  /** It closes when it has all responses; else it stays connected. */
  readonly closes: boolean
  /** It sends its FIN right behind the last request. */
  readonly halfCloses: boolean
  /** Microseconds after the start at which it resets the connection; 0: never. */
  readonly abortAt: number
}

/** A client, its kernel included: sends requests and checks the responses, byte by byte. */
export class Client implements SocketHost, Receiver {
  readonly name = 'client'
  readonly index: number
  readonly flow: SimulatedFlow
  readonly socket: TcpSocket
  state: 'open' | 'closed' | 'reset' | 'aborted' | 'timed out' = 'open'
  readonly #world: World
  readonly #plan: ClientPlan
  readonly #gateway: Kernel
  #requested = 0
  #received = 0

  constructor(world: World, gateway: Kernel, flow: SimulatedFlow, sequences: [number, number], plan: ClientPlan) {
    this.#world = world
    this.#gateway = gateway
    this.#plan = plan
    this.flow = flow
    this.index = hostNames.length + flow.index
    const [sendSequence, receiveSequence] = sequences
    this.socket = new TcpSocket(this, flow, { toClient: false, sendSequence, receiveSequence, timestampOffset: 0 })
    this.socket.onReady = () => this.#read()
    this.socket.onClosed = (reason) => this.#ended(reason)
  }

  get queue() {
    return this.#world.queue
  }

  get timestampClock(): number {
    return Math.floor(this.#world.queue.now / 1000) >>> 0
  }

  /** All requests are answered. */
  get complete(): boolean {
    return this.#received === this.flow.requests * this.flow.responseLength
  }

  acknowledgementDelay(): number {
    return this.#world.random.chance(0.2) ? 3000 : 0
  }

  start(): void {
    if (this.#plan.abortAt > 0) this.queue.after(this.#plan.abortAt, () => this.#abort())
    this.#write()
  }

  transmit(_socket: TcpSocket, packet: Packet): void {
    this.#world.network.send(this, this.#gateway, packet)
  }

  input(packet: Packet): void {
    if (this.state === 'open') {
      this.#world.note(() => `client gets ${describePacket(packet)}`)
      this.socket.input(packet)
    } else if (packet.rst) return
    // TIME_WAIT: the last acknowledgement was lost.
    else if (this.state === 'closed') {
      if (packet.fin) this.socket.acknowledge()
    } else this.#refuse(packet)
  }

  /** Asks the service whether the connection still lives; its answer, or its silence, shows it. */
  probe(): void {
    if (this.state === 'open') this.socket.probe()
  }

  #write(): void {
    const { flow, socket } = this
    const answered = Math.floor(this.#received / flow.responseLength)
    while (this.#requested < flow.requests && this.#requested < answered + this.#plan.pipelining) {
      const offset = this.#requested * flow.requestLength
      this.#requested += 1
      if (this.#world.random.chance(0.2)) this.#writeInTwo(offset)
      else socket.write(ramp(offset, flow.requestLength))
    }
    if (this.#requested === flow.requests && this.#plan.halfCloses) socket.end()
  }

  #writeInTwo(offset: number): void {
    const { requestLength } = this.flow
    const first = this.#world.random.between(1, requestLength - 1)
    this.socket.write(ramp(offset, first))
    this.socket.write(ramp(offset + first, requestLength - first))
  }

  #read(): void {
    const { socket, flow } = this
    const bytes = socket.read(socket.received.length)
    const wrong = findWrongByte(bytes, this.#received)
    if (wrong !== undefined) this.#world.violate(4, `${flow}: the client gets a wrong byte ${wrong}`)
    this.#received += bytes.length
    if (this.#received > flow.written) this.#world.violate(4, `${flow}: the client gets more than was written`)
    if (this.complete && (this.#plan.closes || this.#plan.halfCloses)) socket.end()
    else this.#write()
  }

  #abort(): void {
    if (this.state !== 'open') return
    this.#over('aborted')
    this.socket.reset('the client resets it')
  }

  #ended(reason: string): void {
    if (this.state !== 'open') return
    if (reason.startsWith('both')) {
      this.#over('closed')
      if (!this.complete) this.#world.violate(4, `${this.flow}: closed after ${this.#received} bytes`)
      return
    }
    if (!this.flow.mayEnd) this.#world.violate(1, `${this.flow}: its client finds it ${reason}`)
    this.#over(reason.startsWith('reset') ? 'reset' : 'timed out')
  }

  #over(state: Client['state']): void {
    this.state = state
    this.flow.over = true
    this.#world.note(() => `client of ${this.flow}: ${state}`)
  }

  #refuse({ sequence, acknowledgement, bytes }: Packet): void {
    this.transmit(this.socket, {
      flow: this.flow,
      toClient: false,
      from: this.name,
      sequence: acknowledgement,
      acknowledgement: (sequence + bytes.length) >>> 0,
      bytes: NO_BYTES,
      fin: false,
      rst: true,
      timestamp: 0,
      hops: 4,
    })
  }
}
