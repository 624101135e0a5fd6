import type { Socket } from 'bun'
import { type RequestHead, RequestHeadParser } from '../http/index.ts'
import type { AdoptedConnection, SuspendedConnection, SuspendOptions } from './adopted-connection.ts'
import { BodyIntake } from './body-intake.ts'
import { descriptorOf } from './descriptor.ts'
import { ClientGoneError, ConnectionMovedError, HttpServerError } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import { origin, SocketInfo } from './info.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { AdoptOptions, ConnectionInfo } from './options.ts'
import { Output } from './output.ts'
import { ReadGate } from './read-gate.ts'
import { isServable, RequestFactory } from './request.ts'
import { Responder } from './responder.ts'
import { continuedExchange, continueResponse } from './response-continuation.ts'
import type { Standing } from './suspended.ts'
import { Suspender } from './suspender.ts'
import { overdue, type Waiting } from './timeouts.ts'

const LF = 0x0a

/**
 * `idle`: between requests, or a head is incomplete. `collecting`: a small body is received before the handler is called.
 * `handling`: the handler works, or its response is being sent, or the rest of the request's body is awaited.
 * `suspended`: nothing is read or written, between requests or within a response. `closing`: our FIN is sent. `closed`: the descriptor
 * is gone.
 */
type Phase = Waiting['phase']

/** One client connection: reads requests one after the other and has each answered before it looks at the next. */
export class Connection implements AdoptedConnection {
  readonly #host: ConnectionHost
  readonly #socket: Socket<Connection>
  readonly #output: Output
  readonly #gate: ReadGate
  readonly #body: BodyIntake
  readonly #parser: RequestHeadParser
  readonly #requests: RequestFactory
  readonly #responder: Responder
  readonly #info: ConnectionInfo
  readonly #suspender: Suspender
  readonly #onClose: (() => void) | undefined
  #phase: Phase = 'idle'
  /** What has been read and not yet been used. */
  #input: Buffer | undefined
  #inputEnded = false
  #processing = false
  #exchange: Exchange | undefined
  /** When bytes last moved, on the host's clock. */
  #activity: number
  /** When the incomplete head or the closing began, 0 when there is neither. */
  #since = 0
  #served = 0
  /** Whether the response failed while the connection was suspended. */
  #broken = false

  constructor(host: ConnectionHost, socket: Socket<Connection>, adopted: boolean, options: AdoptOptions = {}) {
    this.#host = host
    this.#socket = socket
    this.#activity = host.now
    this.#onClose = options.onClose
    this.#output = new Output(socket)
    this.#gate = new ReadGate(socket)
    this.#body = new BodyIntake(this, host.limits, this.#output, this.#gate)
    this.#parser = new RequestHeadParser(host.limits)
    this.#requests = new RequestFactory(() => origin(socket))
    this.#info = new SocketInfo(socket, adopted, options.client)
    const parts = { output: this.#output, owner: this, info: this.#info, requests: this.#requests }
    this.#responder = new Responder(host, socket, parts)
    this.#suspender = new Suspender(this, host, options)
  }

  /** Sends what the former owner of the connection left. Called once, when the socket's events reach this object. */
  start({ unsent, response }: AdoptOptions): void {
    if (unsent !== undefined && unsent.length > 0) this.#output.send('', unsent)
    if (response === undefined) return
    const exchange = continuedExchange(this.#requests)
    this.#exchange = exchange
    this.#phase = 'handling'
    const context = { host: this.#host, output: this.#output, owner: this, info: this.#info }
    void continueResponse(exchange, response, context)
  }

  get requests(): number {
    return this.#served
  }

  get closed(): boolean {
    return this.#phase === 'closed'
  }

  /** Bytes came from the client. */
  onData(chunk: Buffer): void {
    this.#activity = this.#host.now
    if (this.#phase === 'closing' || this.#phase === 'closed') return
    if (this.#body.incomplete) this.#body.push(chunk)
    else this.#receiveHead(chunk)
  }

  #receiveHead(chunk: Buffer): void {
    const known = this.#input
    this.#input = known === undefined ? chunk : Buffer.concat([known, chunk])
    const { headSize } = this.#host.limits
    if (this.#phase === 'idle' && !this.#output.blocked) {
      // Only the end of a line can make a head complete or wrong, so a head that comes in drops is not parsed at every drop.
      if (known === undefined || this.#input.length >= headSize || chunk.includes(LF)) this.#process()
    } else if (this.#input.length > headSize) this.#gate.pause()
  }

  /** The client has ended its half of the connection; it may still wait for responses. */
  onEnd(): void {
    this.#inputEnded = true
    this.#activity = this.#host.now
    if (this.#body.incomplete) {
      this.#body.truncate()
      // A handler that is at work learns it, and may still answer.
      if (this.#phase === 'collecting') this.#refuse(400)
      else if (this.#exchange?.answered) this.#close()
    } else if (this.#phase === 'idle' && !this.#output.blocked) this.#close()
  }

  /** The socket can take more bytes. */
  onDrain(): void {
    this.#activity = this.#host.now
    const wasBlocked = this.#output.blocked
    this.#output.onDrain()
    // `unsent` bytes are out: what came meanwhile can be looked at. After a response, its `finished` does that.
    if (wasBlocked && !this.#output.blocked && this.#phase === 'idle') this.#process()
    else if (this.#suspender.mayInterrupt) this.#interrupt()
  }

  /** The descriptor is gone. */
  onClosed(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#input = undefined
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
    const waiting: Waiting = {
      phase: this.#phase,
      activity: this.#activity,
      since: this.#since,
      outputBlocked: this.#output.blocked,
      bodyDue: this.#exchange?.answered === true || this.#body.due,
    }
    const measure = overdue(waiting, this.#host)
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
    else if (this.#suspender.mayInterrupt) this.#interrupt()
    return promise
  }

  /** Goes on after {@link suspend}. */
  resume(): void {
    if (this.#phase !== 'suspended') return
    this.#suspender.resumed()
    this.#activity = this.#host.now
    this.#since = 0
    this.#output.release()
    if (this.#broken) {
      this.terminate()
    } else if (this.#exchange === undefined) {
      this.#phase = 'idle'
      this.#process()
    } else {
      this.#phase = 'handling'
      if (this.#input === undefined || this.#input.length <= this.#host.limits.headSize) this.readOn()
    }
  }

  /** Ends it here: another server has the connection. */
  relinquish(): void {
    this.#output.close()
    this.#exchange?.abandon(new ConnectionMovedError())
    this.terminate()
  }

  /** Called by the responder. */
  progressed(): void {
    if (this.#suspender.mayInterrupt) this.#interrupt()
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
    while (this.#phase === 'idle' && this.#input !== undefined && !this.#output.blocked) {
      if (this.#isWished || !this.#begin(this.#input)) break
    }
    this.#processing = false
    if (this.#phase !== 'idle' || this.#output.blocked) return
    if (this.#inputEnded || (this.#host.stopping && this.#input === undefined)) this.#close()
    else if (this.#isWished) this.#suspend(undefined)
    else this.readOn()
  }

  /** Begins the request at the start of `input`. Returns false when its head is incomplete. */
  #begin(input: Buffer): boolean {
    const head = this.#parser.parse(input)
    if (head.kind === 'incomplete') {
      if (this.#since === 0) this.#since = this.#host.now
      return false
    }
    this.#since = 0
    if (head.kind === 'error') {
      this.#refuse(head.status)
      return true
    }
    if (!this.#inputEnded && this.#suspender.diverts(head)) {
      this.#suspend(undefined)
      return false
    }
    this.#served++
    this.#host.countRequest()
    this.#input = input.length === head.headLength ? undefined : input.subarray(head.headLength)
    const exchange = new Exchange(head, this.#requests)
    this.#exchange = exchange
    this.#phase = 'handling'
    if (!isServable(head.method)) this.#refuse(501)
    else if (head.bodyFraming.kind === 'none') this.#responder.run(exchange, undefined)
    else this.#beginBody(exchange, head)
    return true
  }

  #beginBody(exchange: Exchange, { bodyFraming }: RequestHead): void {
    this.#body.begin(exchange, bodyFraming)
    if (exchange.body === undefined) this.#phase = 'collecting'
    const input = this.#input ?? Buffer.alloc(0)
    this.#input = undefined
    this.#body.push(input)
    if (this.#exchange !== exchange || exchange.responding) return
    if (this.#phase === 'collecting') {
      this.#body.sendContinue(exchange)
      // Reading was stopped if the connection stood still, or if much was pipelined.
      this.readOn()
    } else if (exchange.body !== undefined) this.#responder.run(exchange, undefined)
  }

  /** Called by the body intake. */
  bodyReceived(exchange: Exchange, content: Uint8Array | undefined, rest: Buffer): void {
    if (rest.length > 0) this.#input = rest
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
    this.#requests.release(this.#exchange?.request)
    this.#exchange = undefined
    this.#phase = 'idle'
    this.#process()
  }

  /** Whether somebody waits for the connection to stop, and it can. */
  get #isWished(): boolean {
    return this.#suspender.wished && !this.#inputEnded
  }

  /** Stops within a response, if the rest can be sent elsewhere. */
  #interrupt(): void {
    if (this.#phase !== 'handling' || this.#body.incomplete || this.#inputEnded) return
    const response = this.#exchange?.transfer?.interrupt(this.#output)
    if (response !== undefined) this.#suspend(response)
  }

  #suspend(response: InterruptedResponse | undefined): void {
    this.#phase = 'suspended'
    this.#output.hold()
    this.#gate.pause()
    // When the socket's callback has returned: Bun may be in a loop of reads that still uses the descriptor.
    setImmediate(() => {
      if (this.#phase === 'suspended') this.#suspender.stopped(this.#standing(response))
    })
  }

  #standing(response: InterruptedResponse | undefined): Standing {
    const next = this.#input === undefined ? undefined : this.#parser.parse(this.#input)
    return {
      fd: descriptorOf(this.#socket),
      received: this.#input ?? new Uint8Array(0),
      head: next?.kind === 'head' ? next : undefined,
      response,
      requests: this.#served,
    }
  }

  #close(): void {
    this.#phase = 'closing'
    this.#since = this.#host.now
    this.#input = undefined
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
    this.#activity = this.#host.now
    this.#gate.resume()
  }
}
