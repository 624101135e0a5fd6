import { ByteQueue } from './byte-queue.ts'
import type { EventQueue, ScheduledEvent } from './event-queue.ts'
import { distance, NO_BYTES } from './packet.ts'

/** The most bytes of one segment. */
export const SEGMENT_SIZE = 64
/** The most bytes that are sent and not acknowledged. */
export const CONGESTION_WINDOW = 4 * SEGMENT_SIZE
/** What an application can write beyond what was acknowledged. */
const SEND_BUFFER = 6 * SEGMENT_SIZE
/** The first retransmission timeout, in microseconds; it doubles each time. The simulated time limits are as much shorter as it is. */
const RETRANSMISSION_TIMEOUT = 40_000
const MAXIMUM_BACKOFF = 4
const MAXIMUM_RETRANSMISSIONS = 14

/** What a sender needs of its socket. */
export interface SenderSocket {
  readonly frozen: boolean
  readonly queue: EventQueue
  send(sequence: number, bytes: Uint8Array, fin: boolean): void
  /** No acknowledgement has come in all that time. */
  giveUp(): void
}

/** The sending side of a connection: what was written, what of it was sent, and the retransmission timer. */
export class TcpSender {
  /** The sequence number of the first byte that is not acknowledged; the queue begins with it. */
  unacknowledged: number
  fin: 'none' | 'queued' | 'sent' | 'acknowledged' = 'none'
  readonly #socket: SenderSocket
  readonly #queue = new ByteQueue()
  #sent = 0
  #timer: ScheduledEvent | undefined
  #retransmissions = 0

  constructor(socket: SenderSocket, sequence: number) {
    this.#socket = socket
    this.unacknowledged = sequence
  }

  /** SND.NXT. */
  get next(): number {
    return (this.unacknowledged + this.#sent + (this.fin === 'sent' ? 1 : 0)) >>> 0
  }

  get room(): number {
    return SEND_BUFFER - this.#queue.length
  }

  /** Whether everything that was written, the FIN included, has been acknowledged. */
  get isDrained(): boolean {
    return this.#queue.length === 0 && this.fin !== 'queued' && this.fin !== 'sent'
  }

  get sent(): Uint8Array {
    return this.#queue.copy(0, this.#sent)
  }

  get unsent(): Uint8Array {
    return this.#queue.copy(this.#sent)
  }

  /** Takes bytes that were sent by another host. Nothing is sent before the retransmission timeout. */
  restore(sent: Uint8Array): void {
    this.#queue.push(sent)
    this.#sent = sent.length
    this.#armTimer()
  }

  write(bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.pump()
  }

  end(): void {
    if (this.fin !== 'none') return
    this.fin = 'queued'
    this.pump()
  }

  /** Sends what may be sent. */
  pump(): void {
    if (this.#socket.frozen) return
    while (this.#sent < this.#queue.length && this.#sent < CONGESTION_WINDOW) {
      const bytes = this.#queue.copy(this.#sent, this.#sent + SEGMENT_SIZE)
      this.#socket.send((this.unacknowledged + this.#sent) >>> 0, bytes, false)
      this.#sent += bytes.length
    }
    if (this.fin === 'queued' && this.#sent === this.#queue.length) {
      this.#socket.send((this.unacknowledged + this.#sent) >>> 0, NO_BYTES, true)
      this.fin = 'sent'
    }
    this.#armTimer()
  }

  /** An acknowledgement has come, which may be old, or of bytes that were never sent here. */
  acknowledge(acknowledgement: number): void {
    const count = distance(this.unacknowledged, acknowledgement)
    if (count <= 0 || count > this.#sent + (this.fin === 'sent' ? 1 : 0)) return
    const bytes = Math.min(count, this.#sent)
    this.#queue.drop(bytes)
    this.#sent -= bytes
    if (count > bytes) this.fin = 'acknowledged'
    this.unacknowledged = (this.unacknowledged + count) >>> 0
    this.#retransmissions = 0
    this.stop()
    this.#armTimer()
  }

  /** Stops the retransmission timer. */
  stop(): void {
    if (this.#timer !== undefined) this.#timer.run = undefined
    this.#timer = undefined
  }

  #armTimer(): void {
    if (this.#sent === 0 && this.fin !== 'sent') return
    const timeout = RETRANSMISSION_TIMEOUT * 2 ** Math.min(this.#retransmissions, MAXIMUM_BACKOFF)
    this.#timer ??= this.#socket.queue.after(timeout, () => this.#retransmit())
  }

  /** The first segment; a frozen socket does it too, for its timers know of no repair mode. */
  #retransmit(): void {
    this.#timer = undefined
    this.#retransmissions += 1
    if (this.#retransmissions > MAXIMUM_RETRANSMISSIONS) {
      this.#socket.giveUp()
      return
    }
    if (this.#sent > 0) {
      const bytes = this.#queue.copy(0, Math.min(SEGMENT_SIZE, this.#sent))
      this.#socket.send(this.unacknowledged, bytes, false)
      // What followed it may be lost too.
      if (!this.#socket.frozen && this.fin === 'none') this.#goBack(bytes.length)
    } else if (this.fin === 'sent') {
      this.#socket.send(this.unacknowledged, NO_BYTES, true)
    }
    this.#armTimer()
  }

  #goBack(sent: number): void {
    for (let offset = sent; offset < this.#sent; offset += SEGMENT_SIZE) {
      const bytes = this.#queue.copy(offset, Math.min(offset + SEGMENT_SIZE, this.#sent))
      this.#socket.send((this.unacknowledged + offset) >>> 0, bytes, false)
    }
  }
}
