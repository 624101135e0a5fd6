import {
  CodecError,
  encodeMessage,
  errorText,
  FrameDecoder,
  type HelloMessage,
  type Message,
  type OutgoingMessage,
} from '@xoffload/core'
import type { TokenBucket } from '../runtime/token-bucket.ts'
import { costOf } from './cost.ts'
import { ControlError } from './errors.ts'
import { type ControlLimits, smallMessageLength, smallMessageReserve } from './limits.ts'
import { OutgoingBuffer } from './outgoing.ts'

/** Milliseconds that a closed connection waits for the peer to close its side. */
const closeTimeout = 1000

/** The messages that a channel's owner sees; the others are the channel's own. */
export type ControlMessage = Exclude<Message, { type: 'hello' | 'ping' | 'pong' }>

/** The part of a Bun TLS socket that a connection uses. */
export interface ControlSocket {
  write(bytes: Uint8Array): number
  /** Reads nothing more, until {@link resume}. */
  pause(): void
  resume(): void
  end(): void
  terminate(): void
}

/** What a connection tells the listener or connector that made it. */
export interface ConnectionEvents {
  /** Both sides said hello. */
  onUp(connection: ControlConnection, hello: HelloMessage): void
  onMessage(message: ControlMessage): void
  /** The peer has sent more than it may: nothing is read from it for a while. */
  onThrottled(): void
  /** The connection ended after it was up. */
  onDown(reason: ControlError): void
  /** The connection ended before it was up. */
  onRejected(reason: ControlError): void
}

/** Who is at the other end, and what is said to it. */
export interface ConnectionIdentity {
  /** The peer's name, as its certificate proves it. */
  readonly peer: string
  /** The peer's address and port. */
  readonly remote: string
  /** What this side says first. */
  readonly hello: HelloMessage
  /** What the peer may send, across all of its connections. */
  readonly allowance: TokenBucket
}

/** One TLS connection between two hosts that have proven who they are. Part of {@link ControlChannel}. */
export class ControlConnection {
  readonly remote: string
  readonly #peer: string
  readonly #allowance: TokenBucket
  readonly #socket: ControlSocket
  readonly #limits: ControlLimits
  readonly #events: ConnectionEvents
  readonly #decoder: FrameDecoder
  readonly #outgoing = new OutgoingBuffer()
  readonly #timer: ReturnType<typeof setInterval>
  #state: 'opening' | 'up' | 'down' = 'opening'
  #flushScheduled = false
  #blocked = false
  /** Runs while nothing is read because the peer has sent too much. */
  #pause: ReturnType<typeof setTimeout> | undefined
  #nonce = 0
  // Counted in ticks, not by the clock: a process that was stopped itself must read what waits before it judges the peer.
  #silentTicks = 0
  #stuckTicks = 0

  /** For a socket whose peer was verified. Says hello. */
  constructor(identity: ConnectionIdentity, socket: ControlSocket, limits: ControlLimits, events: ConnectionEvents) {
    this.remote = identity.remote
    this.#peer = identity.peer
    this.#allowance = identity.allowance
    this.#socket = socket
    this.#limits = limits
    this.#events = events
    this.#decoder = new FrameDecoder({ maximumFrameLength: limits.message })
    this.#timer = setInterval(() => this.#tick(), limits.pingInterval)
    this.#outgoing.push(encodeMessage(identity.hello))
    this.#flush()
  }

  /** Bytes that wait to be written. */
  get pending(): number {
    return this.#outgoing.length
  }

  /** See {@link ControlChannel.send}. */
  send(message: OutgoingMessage): void {
    if (this.#state !== 'up') throw new ControlError('closed', `the control connection to ${this.#peer} is not up`)
    const frame = encodeMessage(message)
    if (frame.length > this.#limits.message) {
      throw new ControlError(
        'oversize',
        `a message of ${frame.length} bytes: at most ${this.#limits.message} are allowed`,
      )
    }
    const room =
      this.#limits.outgoing + (frame.length <= smallMessageLength ? smallMessageReserve : 0) - this.#outgoing.length
    if (frame.length > room) {
      const waiting = this.#outgoing.length
      throw new ControlError(
        'full',
        `${waiting} bytes wait to be sent to ${this.#peer}: no room for ${frame.length} more`,
      )
    }
    this.#outgoing.push(frame)
    this.#schedule()
  }

  /** Writes what the kernel takes at once, and ends the connection. Does nothing after the end. */
  close(): void {
    this.fail(new ControlError('closed', `the control connection to ${this.#peer} was closed by this host`))
  }

  /** Bytes came from the peer. They are overwritten. For the socket's owner. */
  receive(chunk: Uint8Array): void {
    // Not a Buffer, whose `slice` does not copy: no message must keep what is overwritten here.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    try {
      if (this.#state !== 'down') this.#read(bytes)
    } finally {
      bytes.fill(0)
    }
    this.#throttle()
  }

  /** What was read is handled in any case; when that was too much, the next is read later. */
  #throttle(): void {
    const wait = this.#allowance.wait()
    if (wait === 0 || this.#state === 'down' || this.#pause !== undefined) return
    this.#socket.pause()
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#socket.resume()
    }, wait)
    this.#events.onThrottled()
  }

  #read(bytes: Uint8Array): void {
    this.#silentTicks = 0
    try {
      for (const message of this.#decoder.push(bytes)) if (!this.#dispatch(message)) return
    } catch (cause) {
      this.#failDecoding(cause)
    }
  }

  /** The kernel takes bytes again. For the socket's owner. */
  drain(): void {
    this.#blocked = false
    this.#flush()
  }

  /** The socket is closed. For the socket's owner. */
  lost(error?: Error): void {
    const text = error === undefined ? '' : `: ${errorText(error)}`
    this.fail(new ControlError('lost', `${this.#peer} closed the control connection${text}`))
  }

  /** Ends the connection for `reason`. Does nothing after the end. */
  fail(reason: ControlError): void {
    if (this.#state === 'down') return
    const wasUp = this.#state === 'up'
    const reachable = reason.reason !== 'dead' && reason.reason !== 'lost'
    if (reachable) this.#flush()
    this.#state = 'down'
    clearInterval(this.#timer)
    clearTimeout(this.#pause)
    if (reachable && this.#outgoing.length === 0) {
      this.#socket.end()
      setTimeout(() => this.#socket.terminate(), closeTimeout).unref()
    } else {
      this.#socket.terminate()
    }
    this.#outgoing.clear()
    this.#decoder.clear()
    if (wasUp) this.#events.onDown(reason)
    else this.#events.onRejected(reason)
  }

  /** False when the connection has ended. */
  #dispatch(message: Message): boolean {
    this.#allowance.spend(costOf(message))
    if (this.#state === 'opening') {
      if (message.type === 'hello') this.#greet(message)
      else this.fail(new ControlError('protocol', `${this.#peer} sent "${message.type}" before its hello`))
    } else if (this.#state === 'up') {
      if (message.type === 'hello') this.fail(new ControlError('protocol', `${this.#peer} said hello twice`))
      else if (message.type === 'ping') this.#answer(message.nonce)
      else if (message.type !== 'pong') this.#events.onMessage(message)
    }
    return this.#state === 'up'
  }

  #greet(hello: HelloMessage): void {
    if (hello.host !== this.#peer) {
      const name = JSON.stringify(hello.host)
      this.fail(
        new ControlError(
          'protocol',
          `the host at ${this.remote} calls itself ${name}, its certificate is for ${this.#peer}`,
        ),
      )
      return
    }
    this.#state = 'up'
    this.#events.onUp(this, hello)
  }

  #answer(nonce: number): void {
    // With bytes on the way to the peer it needs no other sign of life; and pings that are not read cannot fill the buffer.
    if (this.#outgoing.length > 0) return
    this.#outgoing.push(encodeMessage({ type: 'pong', nonce }))
    this.#schedule()
  }

  #failDecoding(cause: unknown): void {
    if (cause instanceof CodecError) {
      this.fail(new ControlError('protocol', `${this.#peer} sent what is no message: ${cause.message}`, { cause }))
    } else {
      this.fail(
        new ControlError('handler', `a message of ${this.#peer} could not be handled: ${errorText(cause)}`, { cause }),
      )
    }
  }

  #schedule(): void {
    if (this.#flushScheduled || this.#blocked) return
    this.#flushScheduled = true
    queueMicrotask(() => {
      this.#flushScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#state === 'down') return
    for (let bytes = this.#outgoing.next(); bytes !== undefined && !this.#blocked; bytes = this.#outgoing.next()) {
      const count = this.#socket.write(bytes)
      // Closed by the peer: the socket's close event follows.
      if (count < 0) return
      if (count > 0) this.#stuckTicks = 0
      this.#outgoing.consume(count)
      this.#blocked = count < bytes.length
    }
  }

  #tick(): void {
    const { deadAfter, pingInterval } = this.#limits
    const allowed = Math.ceil(deadAfter / pingInterval)
    // While nothing is read, nothing can be heard.
    if (this.#pause !== undefined) this.#silentTicks = 0
    if (this.#silentTicks++ >= allowed) {
      this.fail(new ControlError('dead', `${this.#peer} gave no sign of life for ${deadAfter} ms`))
    } else if (this.#outgoing.length === 0) {
      this.#stuckTicks = 0
      this.#outgoing.push(encodeMessage({ type: 'ping', nonce: this.#nonce++ }))
      this.#flush()
    } else if (this.#stuckTicks++ >= allowed) {
      const waiting = this.#outgoing.length
      this.fail(new ControlError('dead', `${this.#peer} has read nothing for ${deadAfter} ms: ${waiting} bytes wait`))
    }
  }
}
