import type { Socket } from 'bun'
import type { AdoptedConnection, SuspendedConnection, SuspendOptions } from './adopted-connection.ts'
import { BodyIntake } from './body-intake.ts'
import { ClientGoneError, ConnectionMovedError, HttpServerError } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import { origin, SocketInfo } from './info.ts'
import { Input } from './input.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { AdoptOptions } from './options.ts'
import { Output } from './output.ts'
import { ReadGate } from './read-gate.ts'
import { isServable, RequestFactory } from './request.ts'
import { RequestQueue } from './request-queue.ts'
import { Responder } from './responder.ts'
import { Suspender } from './suspender.ts'
import { type Phase, Timeouts } from './timeouts.ts'

/** One client connection: reads requests one after the other and has each answered before it looks at the next. */
export class Connection implements AdoptedConnection {
  readonly #host: ConnectionHost
  readonly #socket: Socket<Connection>
  readonly #output: Output
  readonly #gate: ReadGate
  readonly #input: Input
  readonly #body: BodyIntake
  readonly #queue: RequestQueue
  readonly #responder: Responder
  readonly #suspender: Suspender
  readonly #timeouts: Timeouts
  readonly #onClose: (() => void) | undefined
  #phase: Phase = 'idle'
  #inputEnded = false
  #processing = false
  #exchange: Exchange | undefined
  /** Whether the response failed while the connection was suspended. */
  #broken = false

  constructor(host: ConnectionHost, socket: Socket<Connection>, adopted: boolean, options: AdoptOptions = {}) {
    const input = new Input(host.limits)
    const output = new Output(socket)
    const gate = new ReadGate(socket)
    const requests = new RequestFactory(() => origin(socket))
    const info = new SocketInfo(socket, adopted, options.client)
    const suspender = new Suspender(this, host, options, { socket, input, output, gate })
    const timeouts = new Timeouts(host)
    this.#host = host
    this.#socket = socket
    this.#onClose = options.onClose
    this.#input = input
    this.#output = output
    this.#gate = gate
    this.#suspender = suspender
    this.#timeouts = timeouts
    this.#body = new BodyIntake(this, host.limits, output, gate)
    this.#queue = new RequestQueue(host, { input, requests, suspender, timeouts })
    this.#responder = new Responder(host, socket, { output, owner: this, info, requests })
  }

  /** Sends what the former owner of the connection left. Called once, when the socket's events reach this object. */
  start({ unsent, response }: AdoptOptions): void {
    if (unsent !== undefined && unsent.length > 0) this.#output.sendOwn(unsent)
    if (response === undefined) return
    this.#phase = 'handling'
    this.#exchange = this.#queue.continued()
    this.#responder.continue(this.#exchange, response)
  }

  get requests(): number {
    return this.#queue.taken
  }

  get closed(): boolean {
    return this.#phase === 'closed'
  }

  /** Bytes came from the client. */
  onData(chunk: Buffer): void {
    this.#timeouts.moved()
    if (this.#phase === 'closing' || this.#phase === 'closed') return
    if (this.#body.incomplete) this.#body.push(chunk)
    else this.#receiveHead(chunk)
  }

  #receiveHead(chunk: Buffer): void {
    const worthWhile = this.#input.push(chunk)
    if (this.#phase === 'idle' && !this.#output.blocked) {
      if (worthWhile) this.#process()
    } else if (this.#input.full) this.#gate.pause()
  }

  /** The client has ended its half of the connection; it may still wait for responses. */
  onEnd(): void {
    this.#inputEnded = true
    this.#timeouts.moved()
    if (this.#body.incomplete) {
      this.#body.truncate()
      // A handler that is at work learns it, and may still answer.
      if (this.#phase === 'collecting') this.#refuse(400)
      else if (this.#exchange?.answered) this.#close()
    } else if (this.#phase === 'idle' && !this.#output.blocked) this.#close()
  }

  /** The socket can take more bytes. */
  onDrain(): void {
    this.#timeouts.moved()
    const wasBlocked = this.#output.blocked
    this.#output.onDrain()
    // `unsent` bytes are out: what came meanwhile can be looked at. After a response, its `finished` does that.
    if (wasBlocked && !this.#output.blocked && this.#phase === 'idle') this.#process()
    else this.progressed()
  }

  /** The descriptor is gone. */
  onClosed(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#input.drop()
    this.#body.drop()
    this.#output.close()
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.abandon(new ClientGoneError())
    this.#suspender.closed()
    this.#onClose?.()
  }

  /** Enforces the timeouts. */
  sweep(): void {
    const measure = this.#timeouts.overdue({
      phase: this.#phase,
      outputBlocked: this.#output.blocked,
      bodyDue: this.#exchange?.answered === true || this.#body.due,
    })
    if (measure === 'refuse') this.#refuse(408)
    else if (measure === 'close') this.#close()
    else if (measure === 'terminate') this.terminate()
  }

  /** Closes now if no request is under way; otherwise the response under way says that it is the last. */
  stop(): void {
    if (this.#phase === 'idle' && !this.#output.blocked) this.#close()
  }

  /** Closes at once, whatever is under way. */
  terminate(): void {
    this.#socket.terminate()
  }

  suspend(options: SuspendOptions = {}): Promise<SuspendedConnection | undefined> {
    const promise = this.#suspender.wish(options)
    if (this.#phase === 'idle' && !this.#output.blocked) this.#process()
    else this.progressed()
    return promise
  }

  /** Goes on after {@link suspend}. */
  resume(): void {
    if (this.#phase !== 'suspended') return
    this.#suspender.resumed()
    this.#timeouts.moved()
    this.#timeouts.end()
    this.#output.release()
    if (this.#broken) {
      this.terminate()
    } else if (this.#exchange === undefined) {
      this.#phase = 'idle'
      this.#process()
    } else {
      this.#phase = 'handling'
      if (!this.#input.full) this.readOn()
    }
  }

  /** Ends it here: another server has the connection. */
  relinquish(): void {
    this.#input.drop()
    this.#output.close()
    this.#exchange?.abandon(new ConnectionMovedError())
    this.terminate()
  }

  /** Called by the responder. Stops within a response, if that is wanted and the rest can be sent elsewhere. */
  progressed(): void {
    if (!this.#suspender.mayInterrupt) return
    if (this.#phase !== 'handling' || this.#body.incomplete || this.#inputEnded) return
    const response = this.#exchange?.transfer?.interrupt(this.#output)
    if (response !== undefined) this.#suspend(response)
  }

  /** Called by the responder. */
  finished(exchange: Exchange, keepAlive: boolean): void {
    if (this.#exchange !== exchange || this.#phase === 'closing' || this.#phase === 'closed') return
    if (!keepAlive) {
      this.#close()
      return
    }
    exchange.answered = true
    if (this.#body.incomplete) this.#body.answered()
    else this.#next()
  }

  /** Called by the responder. */
  broken(): void {
    // Whoever suspended the connection may be giving it to a server that can continue the response.
    if (this.#phase === 'suspended') this.#broken = true
    else if (this.#phase !== 'closed') this.#socket.terminate()
  }

  #process(): void {
    if (this.#processing) return
    this.#processing = true
    // A loop, not recursion: a client may pipeline thousands of requests whose handlers answer synchronously.
    while (this.#phase === 'idle' && !this.#input.empty && !this.#output.blocked) {
      if (this.#isWished || !this.#begin()) break
    }
    this.#processing = false
    if (this.#phase !== 'idle' || this.#output.blocked) return
    if (this.#inputEnded || (this.#host.stopping && this.#input.empty)) this.#close()
    else if (this.#isWished) this.#suspend(undefined)
    else this.readOn()
  }

  /** Begins the next request. Returns false when there is none to be served. */
  #begin(): boolean {
    const next = this.#queue.next(!this.#inputEnded)
    if (next instanceof Exchange) this.#serve(next)
    else if (next === 'diverted') this.#suspend(undefined)
    else if (next !== undefined) this.#refuse(next.status)
    return next !== undefined
  }

  #serve(exchange: Exchange): void {
    const { method, bodyFraming } = exchange.head
    this.#exchange = exchange
    this.#phase = 'handling'
    if (!isServable(method)) this.#refuse(501)
    else if (bodyFraming.kind === 'none') this.#responder.run(exchange, undefined)
    else this.#beginBody(exchange)
  }

  #beginBody(exchange: Exchange): void {
    this.#body.begin(exchange)
    if (exchange.body === undefined) this.#phase = 'collecting'
    this.#body.push(this.#input.take())
    if (this.#exchange !== exchange || exchange.responding) return
    if (this.#phase === 'collecting') {
      this.#body.sendContinue(exchange)
      // Reading was stopped if the connection stood still, or if much was pipelined.
      this.readOn()
    } else if (exchange.body !== undefined) this.#responder.run(exchange, undefined)
  }

  /** Called by the body intake. */
  bodyReceived(exchange: Exchange, content: Uint8Array | undefined, rest: Buffer): void {
    if (rest.length > 0) this.#input.push(rest)
    if (this.#phase === 'collecting') {
      this.#phase = 'handling'
      this.#responder.run(exchange, content)
    } else if (exchange.answered) this.#next()
  }

  /** Called by the body intake. */
  bodyRefused(exchange: Exchange, status: number): void {
    if (exchange.responding) this.terminate()
    else this.#refuse(status)
  }

  /** Answers with an error and closes. */
  #refuse(status: number): void {
    const exchange = this.#exchange
    this.#responder.refuse(exchange, status)
    if (exchange === undefined) this.#close()
  }

  #next(): void {
    this.#exchange?.release()
    this.#exchange = undefined
    this.#phase = 'idle'
    this.#process()
  }

  /** Whether somebody waits for the connection to stop, and it can. */
  get #isWished(): boolean {
    return this.#suspender.wished && !this.#inputEnded
  }

  #suspend(response: InterruptedResponse | undefined): void {
    this.#phase = 'suspended'
    this.#suspender.stop(response)
  }

  #close(): void {
    this.#phase = 'closing'
    this.#timeouts.end()
    this.#timeouts.begin()
    this.#input.drop()
    this.#body.drop()
    this.#exchange?.body?.fail(new HttpServerError('the connection ended before the request body was complete'))
    this.#exchange = undefined
    this.readOn()
    this.#socket.end()
  }

  /** Reads on, if reading has stopped. */
  readOn(): void {
    // Also called for a body that its handler cancels long after.
    if (this.#phase === 'suspended' || !this.#gate.paused) return
    // The time in which nothing could be read does not count as the client's.
    this.#timeouts.moved()
    this.#gate.resume()
  }
}
