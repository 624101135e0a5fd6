import type { TcpSnapshot } from '../snapshot.ts'
import { ByteQueue } from './byte-queue.ts'
import type { EventQueue, ScheduledEvent } from './event-queue.ts'
import type { SimulatedFlow } from './flow.ts'
import { distance, NO_BYTES, type Packet } from './packet.ts'
import { CONGESTION_WINDOW, TcpSender } from './tcp-sender.ts'

/** RSTs are accepted when they begin in this window (RFC 9293 section 3.10.7.4). */
const RECEIVE_WINDOW = 0xffff

/** What a socket needs of its host. */
export interface SocketHost {
  readonly name: string
  readonly queue: EventQueue
  /** The host's own timestamp clock, a u32. */
  readonly timestampClock: number
  transmit(socket: TcpSocket, packet: Packet): void
  /** How long this acknowledgement is delayed, in microseconds; 0: it is sent at once. */
  acknowledgementDelay(): number
}

/** What a socket begins with. */
export interface SocketOptions {
  readonly toClient: boolean
  readonly sendSequence: number
  readonly receiveSequence: number
  /** What is added to the host's timestamp clock. */
  readonly timestampOffset: number
}

/** One end of a TCP connection, from ESTABLISHED on: a small, but honest model of what a handoff meets in the kernel. */
export class TcpSocket {
  readonly flow: SimulatedFlow
  readonly host: SocketHost
  /** In TCP_REPAIR: it sends no new bytes, though its timers still run. */
  frozen = false
  closed = false
  /** Another program has it too: unless it is frozen, it outlives the process that hands it off. */
  shared = false
  /** A rule was put to keep from the client what it says while it is frozen. */
  silenced = false
  /** Told of bytes or a FIN that can be read, and of room to write. */
  onReady: () => void = () => {}
  /** Told of the end, however it came: by both FINs, an RST, a timeout or a call. */
  onClosed: (reason: string) => void = () => {}
  readonly received = new ByteQueue()
  finReceived = false
  readonly #toClient: boolean
  readonly #timestampOffset: number
  readonly #sender: TcpSender
  /** RCV.NXT, and what of it the other end has been told. */
  #next: number
  #lastAcknowledgement: number
  #lastTimestamp = 0
  /** An acknowledgement that is delayed. */
  #acknowledgement: ScheduledEvent | undefined
  #probing = false

  constructor(host: SocketHost, flow: SimulatedFlow, options: SocketOptions) {
    this.host = host
    this.flow = flow
    this.#toClient = options.toClient
    this.#sender = new TcpSender(this, options.sendSequence)
    this.#next = options.receiveSequence
    this.#lastAcknowledgement = options.receiveSequence
    this.#timestampOffset = options.timestampOffset
  }

  /** The connection of a snapshot, out of repair mode and silent. */
  static restore(host: SocketHost, flow: SimulatedFlow, snapshot: TcpSnapshot): TcpSocket {
    const { send, receive, window, options } = snapshot
    const socket = new TcpSocket(host, flow, {
      toClient: true,
      sendSequence: send.sequence,
      receiveSequence: (receive.sequence + receive.queue.length) >>> 0,
      timestampOffset: options.timestamp === undefined ? 0 : options.timestamp - host.timestampClock,
    })
    socket.received.push(receive.queue)
    socket.#lastAcknowledgement = window.receiveLastUpdate
    socket.#sender.restore(send.sent)
    return socket
  }

  /** The state of the frozen connection. Throws when it is not ESTABLISHED. */
  snapshot(): TcpSnapshot {
    const { fin, unacknowledged, sent, unsent } = this.#sender
    if (this.closed || this.finReceived || fin !== 'none') throw new Error('the connection is not ESTABLISHED')
    const { options } = this.flow
    return {
      flow: this.flow.key,
      options: options.timestamp === undefined ? options : { ...options, timestamp: this.#timestamp },
      window: {
        sendLastUpdate: this.#next,
        sendWindow: CONGESTION_WINDOW,
        maximumWindow: CONGESTION_WINDOW,
        receiveWindow: RECEIVE_WINDOW,
        receiveLastUpdate: this.#lastAcknowledgement,
      },
      send: { sequence: unacknowledged, sent, unsent },
      receive: { sequence: (this.#next - this.received.length) >>> 0, queue: this.received.copy() },
    }
  }

  /** What changes when a packet has arrived that counts. */
  get progress(): string {
    return `${this.#sender.unacknowledged} ${this.#next} ${this.closed} ${this.finReceived}`
  }

  /** How much can be written. */
  get room(): number {
    return this.#sender.room
  }

  /** Whether everything that was written, the FIN included, has been acknowledged. */
  get isDrained(): boolean {
    return this.#sender.isDrained
  }

  get queue(): EventQueue {
    return this.host.queue
  }

  write(bytes: Uint8Array): void {
    if (!this.closed) this.#sender.write(bytes)
  }

  read(length: number): Uint8Array {
    const bytes = this.received.copy(0, length)
    this.received.drop(bytes.length)
    return bytes
  }

  /** Sends a FIN when all is sent. */
  end(): void {
    if (!this.closed) this.#sender.end()
  }

  thaw(): void {
    this.frozen = false
    this.silenced = false
    if (this.closed) return
    this.acknowledge()
    this.#sender.pump()
  }

  acknowledge(): void {
    this.send(this.#sender.next, NO_BYTES)
  }

  /** A keep-alive probe: the other end answers it, with an acknowledgement or with an RST. Without an answer the next one is the end. */
  probe(): void {
    if (this.#probing) {
      this.close('no answer to keep-alive probes')
      return
    }
    this.#probing = true
    this.send((this.#sender.unacknowledged - 1) >>> 0, NO_BYTES)
  }

  /** Ends it without a word. */
  close(reason: string): void {
    if (this.closed) return
    this.closed = true
    this.#sender.stop()
    this.#forgetAcknowledgement()
    this.onClosed(reason)
  }

  /** Ends it with an RST. */
  reset(reason: string): void {
    if (this.closed) return
    this.send(this.#sender.next, NO_BYTES, false, true)
    this.close(reason)
  }

  giveUp(): void {
    this.close('no acknowledgement')
  }

  input(packet: Packet): void {
    this.#probing = false
    if (packet.rst) {
      const offset = distance(this.#next, packet.sequence)
      if (offset >= 0 && offset <= RECEIVE_WINDOW) this.close('reset by the other end')
      return
    }
    if (this.#isOld(packet)) {
      this.acknowledge()
      return
    }
    this.#sender.acknowledge(packet.acknowledgement)
    this.#closeIfOver()
    if (this.closed) return
    this.#data(packet)
    this.onReady()
    if (!this.closed) this.#sender.pump()
  }

  /** A segment to the other end. */
  send(sequence: number, bytes: Uint8Array, fin = false, rst = false): void {
    this.#forgetAcknowledgement()
    this.#lastAcknowledgement = this.#next
    this.host.transmit(this, {
      flow: this.flow,
      toClient: this.#toClient,
      from: this.host.name,
      sequence,
      acknowledgement: this.#next,
      bytes,
      fin,
      rst,
      timestamp: this.flow.options.timestamp === undefined ? 0 : this.#timestamp,
      hops: 4,
    })
  }

  /** Protection against wrapped sequence numbers (RFC 7323 section 5). */
  #isOld(packet: Packet): boolean {
    if (this.flow.options.timestamp === undefined) return false
    if (distance(this.#lastTimestamp, packet.timestamp) < 0 && this.#lastTimestamp !== 0) return true
    if (packet.sequence === this.#next) this.#lastTimestamp = packet.timestamp
    return false
  }

  #data({ sequence, bytes, fin }: Packet): void {
    const skip = distance(sequence, this.#next)
    if (bytes.length === 0 && !fin) {
      if (skip > 0) this.acknowledge()
      return
    }
    if (skip < 0 || skip > bytes.length || this.finReceived) {
      this.acknowledge()
      return
    }
    this.received.push(skip === 0 ? bytes : bytes.subarray(skip))
    this.#next = (this.#next + bytes.length - skip) >>> 0
    if (fin) {
      this.finReceived = true
      this.#next = (this.#next + 1) >>> 0
      this.acknowledge()
      this.#closeIfOver()
      return
    }
    const delay = skip === 0 ? this.host.acknowledgementDelay() : 0
    if (delay === 0) this.acknowledge()
    else this.#acknowledgement ??= this.queue.after(delay, () => this.acknowledge())
  }

  #closeIfOver(): void {
    if (this.finReceived && this.#sender.fin === 'acknowledged') this.close('both ends have closed')
  }

  get #timestamp(): number {
    return (this.host.timestampClock + this.#timestampOffset) >>> 0
  }

  #forgetAcknowledgement(): void {
    if (this.#acknowledgement !== undefined) this.#acknowledgement.run = undefined
    this.#acknowledgement = undefined
  }
}
