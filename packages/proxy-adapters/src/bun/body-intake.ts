import { HttpSyntaxError } from '../http/index.ts'
import { BodyReceiver } from './body-receiver.ts'
import { ClientGoneError, HttpServerError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { HttpServerLimits } from './options.ts'
import type { Output } from './output.ts'
import type { ReadGate } from './read-gate.ts'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/** What a {@link BodyIntake} tells its connection. */
export interface BodyIntakeOwner {
  /** The body is complete. @param content all of it, unless it was streamed. @param rest what was read behind it. */
  bodyReceived(exchange: Exchange, content: Uint8Array | undefined, rest: Buffer): void
  /** The body is malformed or too large. */
  bodyRefused(exchange: Exchange, status: number): void
  /** Reads on, if reading has stopped. */
  readOn(): void
  /** Closes at once. */
  terminate(): void
}

/** Receives the bodies of the requests of one connection, one after the other. */
export class BodyIntake {
  readonly #owner: BodyIntakeOwner
  readonly #limits: HttpServerLimits
  readonly #output: Output
  readonly #gate: ReadGate
  /** Both are present while the body of the request under way is incomplete. */
  #receiver: BodyReceiver | undefined
  #exchange: Exchange | undefined

  constructor(owner: BodyIntakeOwner, limits: HttpServerLimits, output: Output, gate: ReadGate) {
    this.#owner = owner
    this.#limits = limits
    this.#output = output
    this.#gate = gate
  }

  /** Whether a part of the body is still to come. */
  get incomplete(): boolean {
    return this.#receiver !== undefined
  }

  /** Whether it is the client's turn to send a part of the body. */
  get due(): boolean {
    return this.#receiver !== undefined && !this.#gate.paused && this.#exchange?.awaitsContinue === false
  }

  /** Begins a body. It is streamed when the exchange has a `body` afterwards, else given whole to the owner. */
  begin(exchange: Exchange): void {
    const source = { pull: () => this.#wanted(exchange), cancel: () => this.#owner.readOn() }
    this.#receiver = new BodyReceiver(exchange.head.bodyFraming, this.#limits, source)
    this.#exchange = exchange
    exchange.body = this.#receiver.streamed
  }

  /** Takes what was read. */
  push(chunk: Buffer): void {
    const receiver = this.#receiver
    const exchange = this.#exchange
    if (receiver === undefined || exchange === undefined) return
    const rest = receiver.push(chunk)
    if (chunk.length > 0) exchange.awaitsContinue = false
    if (!Buffer.isBuffer(rest)) {
      this.drop()
      const error = new HttpSyntaxError(rest)
      exchange.body?.fail(error)
      this.#owner.bodyRefused(exchange, rest.status)
      exchange.abandon(error)
    } else if (receiver.done) {
      this.drop()
      this.#owner.bodyReceived(exchange, receiver.streamed === undefined ? receiver.content : undefined, rest)
    } else if (exchange.body?.full) this.#gate.pause()
    else if (receiver.excessive && exchange.answered) this.#owner.terminate()
  }

  /** The client ended its half in the middle of the body. */
  truncate(): void {
    const exchange = this.#exchange
    this.drop()
    if (exchange === undefined) return
    exchange.truncated = true
    exchange.body?.fail(new ClientGoneError())
  }

  /** The response is out before the body is complete. A body that nobody began to read is only in the way of the next request. */
  answered(): void {
    const body = this.#exchange?.body
    if (body !== undefined && !body.wanted)
      body.fail(new HttpServerError('the response was complete before the request body was read'))
    this.#owner.readOn()
  }

  /** Tells a client that waits for it to send the body. */
  sendContinue(exchange: Exchange): void {
    if (!exchange.awaitsContinue || exchange.responding) return
    exchange.awaitsContinue = false
    this.#output.send(CONTINUE)
  }

  /** Expects no more of the body. */
  drop(): void {
    this.#receiver = undefined
    this.#exchange = undefined
  }

  #wanted(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    this.sendContinue(exchange)
    this.#owner.readOn()
  }
}
