import { type Channel, type HelloMessage, type OutgoingMessage, type OutgoingOffer, wipeSnapshot } from '@xoffload/core'
import { TokenBucket } from '../runtime/token-bucket.ts'
import type { ControlConnection, ControlMessage } from './connection.ts'
import { ControlError } from './errors.ts'
import { defaultControlLimits } from './limits.ts'

/** What the owner of control channels wants to know. Must not throw. Exactly one `onDown` follows each `onUp`. */
export interface ControlHandlers {
  /** Both sides said hello. `hello.instance` tells whether the peer's process is still the one of last time. */
  onUp(channel: ControlChannel, hello: HelloMessage): void
  /** A message other than hello, ping and pong, in the order of sending. The connection is closed when this throws. */
  onMessage(channel: ControlChannel, message: ControlMessage): void
  /** The connection has ended: nothing more comes from it, and what was not written is lost. */
  onDown(channel: ControlChannel, reason: ControlError): void
  /** The peer sends more messages than it may, and has to wait (`ControlLimits.messages`). Called at most once a minute. */
  onThrottled?(channel: ControlChannel): void
}

/** How long it is not reported again that the peer has to wait, milliseconds. */
const silence = 60_000

/** The way to one host: the same object for as long as the listener or connector lives, across all of its connections. */
export class ControlChannel implements Channel {
  readonly #host: string
  readonly #handlers: ControlHandlers
  #connection: ControlConnection | undefined
  #hello: HelloMessage | undefined
  #reported = Number.NEGATIVE_INFINITY
  /** What the peer may send. It outlives connections: a new one brings no new allowance. */
  readonly allowance: TokenBucket

  constructor(host: string, handlers: ControlHandlers, messages = defaultControlLimits.messages) {
    this.#host = host
    this.#handlers = handlers
    this.allowance = new TokenBucket(messages, messages)
  }

  /** The peer's name, as its certificate proves it. */
  get host(): string {
    return this.#host
  }

  /** Whether messages can be sent. */
  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** What the peer said of itself when it connected last, undefined before its first connection. */
  get hello(): HelloMessage | undefined {
    return this.#hello
  }

  /** The peer's address and port on the connection, undefined while there is none. */
  get remote(): string | undefined {
    return this.#connection?.remote
  }

  /** Bytes that wait to be written. */
  get pending(): number {
    return this.#connection?.pending ?? 0
  }

  /**
   * Queues a message; what one turn of the event loop sends goes out in one write. Throws {@link ControlError}: `closed` when the
   * channel is down, `full` when the outgoing buffer has no room, `oversize` when the peer would not take so long a message. The
   * channel stays as it is, and nothing of the message is sent. Throws `CodecError` for a message that cannot be encoded.
   *
   * What an offer carries is overwritten, also when this throws: nobody uses it after that.
   */
  send(message: OutgoingMessage): void {
    try {
      if (this.#connection === undefined)
        throw new ControlError('closed', `there is no control connection to ${this.#host} now`)
      this.#connection.send(message)
    } finally {
      if (message.type === 'offer') wipe(message)
    }
  }

  /** Ends the present connection. A connector connects again. */
  close(): void {
    this.#connection?.close()
  }

  /** A connection is up. For the listener and the connector; an earlier connection is ended first. */
  attach(connection: ControlConnection, hello: HelloMessage): void {
    this.#connection?.fail(new ControlError('replaced', `${this.#host} connected again from ${connection.remote}`))
    this.#connection = connection
    this.#hello = hello
    this.#handlers.onUp(this, hello)
  }

  /** A message came. For the listener and the connector. */
  receive(message: ControlMessage): void {
    this.#handlers.onMessage(this, message)
  }

  /** The peer has to wait. For the listener and the connector. */
  throttled(): void {
    const now = performance.now()
    if (now - this.#reported < silence) return
    this.#reported = now
    this.#handlers.onThrottled?.(this)
  }

  /** The connection has ended. For the listener and the connector. */
  detach(reason: ControlError): void {
    this.#connection = undefined
    this.#handlers.onDown(this, reason)
  }
}

function wipe({ snapshot, application }: OutgoingOffer): void {
  wipeSnapshot(snapshot)
  application.fill(0)
}
