import type { Socket } from 'bun'
import { HttpSyntaxError, type Refusal, type RequestHead, RequestHeadParser } from '../http/index.ts'
import { BodyReceiver } from './body-receiver.ts'
import { ClientGoneError, HttpServerError } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import { origin, SocketInfo } from './info.ts'
import type { AdoptOptions } from './options.ts'
import { Output } from './output.ts'
import { ReadGate } from './read-gate.ts'
import { isServable, RequestFactory } from './request.ts'
import { Responder } from './responder.ts'

/** After its own FIN a connection waits this many milliseconds for the client's, so that no reset overtakes the response. */
const LINGER = 5_000
const LF = 0x0a
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/**
 * `idle`: between requests, or a head is incomplete. `collecting`: a small body is received before the handler is called.
 * `handling`: the handler works, or its response is being sent, or the rest of the request's body is awaited.
 * `closing`: our FIN is sent. `closed`: the descriptor is gone.
 */
type Phase = 'idle' | 'collecting' | 'handling' | 'closing' | 'closed'

/** One client connection: reads requests one after the other and has each answered before it looks at the next. */
export class Connection {
  readonly #host: ConnectionHost
  readonly #socket: Socket<Connection>
  readonly #output: Output
  readonly #gate: ReadGate
  readonly #parser: RequestHeadParser
  readonly #requests: RequestFactory
  readonly #responder: Responder
  readonly #onClose: (() => void) | undefined
  #phase: Phase = 'idle'
  /** What has been read and not yet been used. */
  #input: Buffer | undefined
  #inputEnded = false
  #processing = false
  #exchange: Exchange | undefined
  /** Present while the body of the request under way is incomplete. */
  #receiver: BodyReceiver | undefined
  /** Whether the response of the exchange is out and only its request's body is awaited. */
  #answered = false
  /** When bytes last moved, on the host's clock. */
  #activity: number
  /** When the incomplete head or the closing began, 0 when there is neither. */
  #since = 0

  constructor(host: ConnectionHost, socket: Socket<Connection>, adopted: boolean, options: AdoptOptions = {}) {
    this.#host = host
    this.#socket = socket
    this.#activity = host.now
    this.#onClose = options.onClose
    this.#output = new Output(socket)
    this.#gate = new ReadGate(socket)
    this.#parser = new RequestHeadParser(host.limits)
    this.#requests = new RequestFactory(() => origin(socket))
    const info = new SocketInfo(socket, adopted, options.client)
    this.#responder = new Responder(host, socket, { output: this.#output, owner: this, info, requests: this.#requests })
    if (options.unsent !== undefined && options.unsent.length > 0) this.#output.send('', options.unsent)
  }

  /** Bytes came from the client. */
  onData(chunk: Buffer): void {
    this.#activity = this.#host.now
    if (this.#phase === 'closing' || this.#phase === 'closed') return
    if (this.#receiver === undefined || this.#exchange === undefined) this.#receiveHead(chunk)
    else this.#receiveBody(this.#receiver, this.#exchange, chunk)
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
    if (this.#receiver !== undefined && this.#exchange !== undefined) this.#truncate(this.#exchange)
    else if (this.#phase === 'idle' && !this.#output.blocked) this.#close()
  }

  /** The socket can take more bytes. */
  onDrain(): void {
    this.#activity = this.#host.now
    const wasBlocked = this.#output.blocked
    this.#output.onDrain()
    // `unsent` bytes are out: what came meanwhile can be looked at. After a response, its `finished` does that.
    if (wasBlocked && !this.#output.blocked && this.#phase === 'idle') this.#process()
  }

  /** The descriptor is gone. */
  onClosed(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#input = undefined
    this.#receiver = undefined
    this.#output.close()
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.abandon(new ClientGoneError())
    this.#onClose?.()
  }

  /** Enforces the timeouts. @param now the host's clock. */
  sweep(now: number): void {
    const quiet = now - this.#activity > this.#host.idleTimeout
    const awaitsBody = this.#receiver !== undefined && !this.#gate.paused && this.#exchange?.awaitsContinue === false
    switch (this.#phase) {
      case 'idle':
        if (this.#since > 0 && now - this.#since > this.#host.headTimeout) this.#refuse(408)
        else if (quiet && this.#output.blocked) this.terminate()
        else if (quiet && this.#since === 0) this.#close()
        break
      case 'collecting':
        if (quiet) this.#refuse(408)
        break
      case 'handling':
        // A handler may take its time. A client that neither reads nor sends what is due may not.
        if (quiet && (this.#output.blocked || this.#answered || awaitsBody)) this.terminate()
        break
      case 'closing':
        if (now - this.#since > LINGER) this.terminate()
        break
    }
  }

  /** Closes now if no request is under way; otherwise the response under way says that it is the last. */
  stop(): void {
    if (this.#phase === 'idle' && !this.#output.blocked) this.#close()
  }

  /** Closes at once, whatever is under way. */
  terminate(): void {
    this.#socket.terminate()
  }

  /** Called by the responder. */
  finished(exchange: Exchange, keepAlive: boolean): void {
    if (this.#exchange !== exchange || this.#phase === 'closing' || this.#phase === 'closed') return
    if (!keepAlive) {
      this.#close()
      return
    }
    this.#answered = true
    if (this.#receiver === undefined) {
      this.#next()
      return
    }
    const { body } = exchange
    // Nobody began to read: the rest of the body is only in the way of the next request.
    if (body !== undefined && !body.wanted)
      body.fail(new HttpServerError('the response was complete before the request body was read'))
    this.#resume()
  }

  /** Called by the responder. */
  broken(): void {
    if (this.#phase !== 'closed') this.#socket.terminate()
  }

  #process(): void {
    if (this.#processing) return
    this.#processing = true
    // A loop, not recursion: a client may pipeline thousands of requests whose handlers answer synchronously.
    while (this.#phase === 'idle' && this.#input !== undefined && !this.#output.blocked) {
      if (!this.#begin(this.#input)) break
    }
    this.#processing = false
    if (this.#phase !== 'idle' || this.#output.blocked) return
    if (this.#inputEnded || (this.#host.stopping && this.#input === undefined)) this.#close()
    else this.#resume()
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
    this.#host.countRequest()
    this.#input = input.length === head.headLength ? undefined : input.subarray(head.headLength)
    const exchange = new Exchange(head, this.#requests)
    this.#exchange = exchange
    this.#answered = false
    this.#phase = 'handling'
    if (!isServable(head.method)) this.#refuse(501)
    else if (head.bodyFraming.kind === 'none') this.#responder.run(exchange, undefined)
    else this.#beginBody(exchange, head)
    return true
  }

  #beginBody(exchange: Exchange, { bodyFraming }: RequestHead): void {
    const source = { pull: () => this.#bodyWanted(exchange), cancel: () => this.#resume() }
    const receiver = new BodyReceiver(bodyFraming, this.#host.limits, source)
    this.#receiver = receiver
    exchange.body = receiver.streamed
    if (exchange.body === undefined) this.#phase = 'collecting'
    const input = this.#input ?? Buffer.alloc(0)
    this.#input = undefined
    this.#receiveBody(receiver, exchange, input)
    if (this.#exchange !== exchange || exchange.responding) return
    if (this.#phase === 'collecting') this.#sendContinue(exchange)
    else if (exchange.body !== undefined) this.#responder.run(exchange, undefined)
  }

  #receiveBody(receiver: BodyReceiver, exchange: Exchange, chunk: Buffer): void {
    const rest = receiver.push(chunk)
    if (chunk.length > 0) exchange.awaitsContinue = false
    if (!Buffer.isBuffer(rest)) this.#failBody(exchange, rest)
    else if (receiver.done) this.#endBody(receiver, exchange, rest)
    else if (exchange.body?.full) this.#gate.pause()
    else if (receiver.excessive && this.#answered) this.terminate()
  }

  #endBody(receiver: BodyReceiver, exchange: Exchange, rest: Buffer): void {
    this.#receiver = undefined
    if (rest.length > 0) this.#input = rest
    if (this.#phase === 'collecting') {
      this.#phase = 'handling'
      this.#responder.run(exchange, receiver.content)
    } else if (this.#answered) this.#next()
  }

  /** The body is malformed or too large. */
  #failBody(exchange: Exchange, refusal: Refusal): void {
    this.#receiver = undefined
    const error = new HttpSyntaxError(refusal)
    exchange.body?.fail(error)
    if (exchange.responding) this.terminate()
    else this.#refuse(refusal.status)
    exchange.abandon(error)
  }

  /** The client ended its half in the middle of a body: the handler learns it and may still answer. */
  #truncate(exchange: Exchange): void {
    this.#receiver = undefined
    exchange.truncated = true
    exchange.body?.fail(new ClientGoneError())
    if (this.#phase === 'collecting') this.#refuse(400)
    else if (this.#answered) this.#close()
  }

  #bodyWanted(exchange: Exchange): void {
    if (this.#exchange !== exchange || this.#receiver === undefined) return
    this.#sendContinue(exchange)
    this.#resume()
  }

  #sendContinue(exchange: Exchange): void {
    if (!exchange.awaitsContinue || exchange.responding) return
    exchange.awaitsContinue = false
    this.#output.send(CONTINUE)
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

  #close(): void {
    this.#phase = 'closing'
    this.#since = this.#host.now
    this.#input = undefined
    this.#receiver = undefined
    this.#exchange?.body?.fail(new HttpServerError('the connection ended before the request body was complete'))
    this.#exchange = undefined
    this.#resume()
    this.#socket.end()
  }

  #resume(): void {
    // The time in which nothing could be read does not count as the client's.
    if (this.#gate.paused) this.#activity = this.#host.now
    this.#gate.resume()
  }
}
