import { findWrongByte, ramp, type SimulatedFlow } from './flow.ts'
import type { TcpSocket } from './tcp-socket.ts'
import type { World } from './world.ts'

/** What an application needs to know to go on with a connection: how much it has consumed and written. */
export interface Position {
  readonly consumed: number
  readonly written: number
}

/** As the application part of an offer. */
export function encodePosition({ consumed, written }: Position): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, consumed)
  view.setUint32(4, written)
  return bytes
}

/** The position that {@link encodePosition} has encoded. */
export function decodePosition(bytes: Uint8Array): Position {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { consumed: view.getUint32(0), written: view.getUint32(4) }
}

/** An application on one connection: reads requests, one after the other, and answers each. It checks that no byte is missing or comes twice. */
export class ServedConnection {
  readonly flow: SimulatedFlow
  readonly socket: TcpSocket
  /** Called between two reads or writes; the application may be paused there. */
  onStep: (boundary: boolean) => void = () => {}
  readonly #world: World
  #consumed: number
  #written: number
  #paused = false
  #busy = false

  constructor(world: World, socket: TcpSocket, { consumed, written }: Position) {
    this.#world = world
    this.socket = socket
    this.flow = socket.flow
    this.#consumed = consumed
    this.#written = written
    socket.onReady = () => this.run()
  }

  get position(): Position {
    return { consumed: this.#consumed, written: this.#written }
  }

  get paused(): boolean {
    return this.#paused
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.run()
  }

  run(): void {
    if (this.isAtWork) this.#claim()
    while (!this.#paused && !this.#busy && !this.socket.closed && this.#step()) {
      this.onStep(this.#owed === 0 && this.#consumed % this.flow.requestLength === 0)
      if (this.#world.random.chance(0.15)) this.#think()
    }
  }

  /** Whether the application goes on with the connection: it would answer the next request. */
  get isAtWork(): boolean {
    return !this.#paused && !this.socket.closed && !this.socket.frozen
  }

  /** Two applications that are at work on one connection would both carry out the next request. */
  #claim(): void {
    const other = this.flow.application
    if (other !== this && other?.isAtWork) {
      const hosts = `${other.socket.host.name} and ${this.socket.host.name}`
      this.#world.violate(8, `${this.flow}: applications at ${hosts} are at work on it`)
    }
    this.flow.application = this
  }

  /** Bytes of the response to what was consumed that are not written yet. */
  get #owed(): number {
    const { requestLength, responseLength } = this.flow
    return Math.floor(this.#consumed / requestLength) * responseLength - this.#written
  }

  #think(): void {
    this.#busy = true
    this.#world.queue.after(this.#world.random.below(3000), () => {
      this.#busy = false
      this.run()
    })
  }

  #step(): boolean {
    const { socket, flow } = this
    const { random } = this.#world
    const owed = this.#owed
    if (owed > 0) {
      const length = Math.min(owed, socket.room, random.between(20, 200))
      if (length <= 0) return false
      this.#agree('written', flow.written, this.#written)
      this.#written += length
      flow.written = this.#written
      socket.write(ramp(this.#written - length, length))
      return true
    }
    if (socket.received.length > 0) {
      this.#read(socket.read(flow.requestLength - (this.#consumed % flow.requestLength)))
      return true
    }
    if (socket.finReceived) socket.end()
    return false
  }

  #read(bytes: Uint8Array): void {
    const { flow } = this
    this.#agree('consumed', flow.consumed, this.#consumed)
    const wrong = findWrongByte(bytes, this.#consumed)
    if (wrong !== undefined) this.#world.violate(4, `${flow}: wrong byte ${wrong} in what the client has sent`)
    this.#consumed += bytes.length
    flow.consumed = this.#consumed
  }

  #agree(what: string, expected: number, position: number): void {
    if (expected === position) return
    this.#world.violate(
      4,
      `${this.flow}: ${this.socket.host.name} begins at byte ${position}, and ${expected} have been ${what}`,
    )
  }
}
