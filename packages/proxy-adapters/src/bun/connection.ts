import type { Socket } from 'bun'
import { BodyDecoder, HttpSyntaxError, type Refusal, type RequestHead, RequestHeadParser } from '../http/index.ts'
import { ClientGoneError, HttpServerError } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import { origin, SocketInfo } from './info.ts'
import type { AdoptOptions } from './options.ts'
import { Output } from './output.ts'
import { isServable, RequestFactory } from './request.ts'
import { RequestBody } from './request-body.ts'
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
  readonly #parser: RequestHeadParser
  readonly #requests: RequestFactory
  readonly #responder: Responder
  readonly #onClose: (() => void) | undefined
  #phase: Phase = 'idle'
  /** What has been read and not yet been used. */
  #input: Buffer | undefined
  #inputEnded = false
  #paused = false
  #processing = false
  #exchange: Exchange | undefined
  /** Present while the body of the request under way is incomplete. */
  #decoder: BodyDecoder | undefined
  #collected: Uint8Array[] = []
  #discarded = 0
  /** Whether the response of the exchange is out and only its request's body is awaited. */
  #answered = false
  /** When bytes last moved, on the host's clock. */
  #activity: number
  /** When the incomplete head or the closing began. */
  #since = 0

  constructor(host: ConnectionHost, socket: Socket<Connection>, adopted: boolean, options: AdoptOptions = {}) {
    this.#host = host
    this.#socket = socket
    this.#activity = host.now
    this.#onClose = options.onClose
    this.#output = new Output(socket)
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
    if (this.#decoder !== undefined) return this.#receiveBody(chunk)
    const known = this.#input
    this.#input = known === undefined ? chunk : Buffer.concat([known, chunk])
    const { headSize } = this.#host.limits
    if (this.#phase === 'idle' && !this.#output.blocked) {
      // Only the end of a line can make a head complete or wrong, so a head that comes in drops is not parsed at every drop.
      if (known === undefined || this.#input.length >= headSize || chunk.includes(LF)) this.#process()
    } else if (this.#input.length > headSize) this.#pause()
  }

  /** The client has ended its half of the connection; it may still wait for responses. */
  onEnd(): void {
    this.#inputEnded = true
    this.#activity = this.#host.now
    if (this.#phase === 'closing') return void this.#socket.terminate()
    if (this.#decoder !== undefined) this.#truncate()
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
    this.#decoder = undefined
    this.#collected = []
    this.#output.close()
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.abandon(new ClientGoneError())
    this.#onClose?.()
  }

  /** Enforces the timeouts. @param now the host's clock. */
  sweep(now: number): void {
    const quiet = now - this.#activity > this.#host.idleTimeout
    switch (this.#phase) {
      case 'idle':
        if (this.#output.blocked) this.#terminateIf(quiet)
        else if (this.#input === undefined) {
          if (quiet) this.#close()
        } else if (now - this.#since > this.#host.headTimeout) this.#refuse(408)
        break
      case 'collecting':
        if (quiet) this.#refuse(408)
        break
      case 'handling':
        // A handler may take its time. A client that neither reads nor sends what is due may not.
        this.#terminateIf(quiet && (this.#output.blocked || this.#answered || this.#awaitsBody))
        break
      case 'closing':
        this.#terminateIf(now - this.#since > LINGER)
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
    if (!keepAlive) return this.#close()
    this.#answered = true
    if (this.#decoder === undefined) return this.#next()
    const { body } = exchange
    // Nobody began to read: the rest of the body is only in the way of the next request.
    if (body !== undefined && !body.wanted) body.fail(new HttpServerError('the response was complete before the request body was read'))
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
    const { limits } = this.#host
    const decoder = new BodyDecoder(bodyFraming, limits)
    this.#decoder = decoder
    this.#discarded = 0
    if (bodyFraming.kind === 'length' && bodyFraming.contentLength <= limits.bufferedBodySize) {
      this.#phase = 'collecting'
    } else {
      const source = { pull: () => this.#bodyWanted(exchange), cancel: () => this.#resume() }
      exchange.body = new RequestBody(source, limits.bodyQueueSize)
    }
    const input = this.#input ?? Buffer.alloc(0)
    this.#input = undefined
    this.#receiveBody(input)
    if (this.#exchange !== exchange || exchange.responding) return
    if (this.#phase === 'collecting') this.#sendContinue(exchange)
    else if (exchange.body !== undefined) this.#responder.run(exchange, undefined)
  }

  #receiveBody(chunk: Buffer): void {
    const decoder = this.#decoder as BodyDecoder
    const exchange = this.#exchange as Exchange
    const progress = decoder.push(chunk)
    if (progress.kind === 'error') return this.#failBody(exchange, progress)
    if (chunk.length > 0) exchange.awaitsContinue = false
    if (progress.consumed < chunk.length) this.#input = chunk.subarray(progress.consumed)
    for (const content of progress.content) this.#deliver(exchange, content)
    if (this.#decoder !== decoder) return
    if (progress.done) this.#endBody(exchange)
    else if (exchange.body?.full) this.#pause()
  }

  #deliver(exchange: Exchange, content: Uint8Array): void {
    if (this.#phase === 'collecting') this.#collected.push(content)
    else if (exchange.body?.open) exchange.body.enqueue(content)
    else {
      this.#discarded += content.length
      if (this.#discarded > this.#host.limits.discardSize) this.#terminateIf(this.#answered)
    }
  }

  #endBody(exchange: Exchange): void {
    this.#decoder = undefined
    exchange.body?.close()
    if (this.#phase === 'collecting') {
      const collected = this.#collected
      this.#collected = []
      this.#phase = 'handling'
      this.#responder.run(exchange, collected.length === 1 ? collected[0] : Buffer.concat(collected))
    } else if (this.#answered) this.#next()
  }

  /** The body is malformed or too large. */
  #failBody(exchange: Exchange, refusal: Refusal): void {
    this.#decoder = undefined
    const error = new HttpSyntaxError(refusal)
    if (this.#answered || exchange.responding) {
      exchange.abandon(error)
      this.#socket.terminate()
      return
    }
    this.#refuse(refusal.status)
    exchange.abandon(error)
  }

  /** The client ended its half in the middle of a body: the handler learns it and may still answer. */
  #truncate(): void {
    this.#decoder = undefined
    const exchange = this.#exchange as Exchange
    exchange.truncated = true
    if (this.#phase === 'collecting') return this.#refuse(400)
    exchange.body?.fail(new ClientGoneError())
    if (this.#answered) this.#close()
  }

  #bodyWanted(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    this.#sendContinue(exchange)
    if (this.#decoder !== undefined) this.#resume()
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
    this.#decoder = undefined
    this.#exchange = undefined
    this.#resume()
    this.#socket.end()
  }

  /** Whether it is the client's turn to send content. */
  get #awaitsBody(): boolean {
    return this.#decoder !== undefined && !this.#paused && this.#exchange?.awaitsContinue === false
  }

  #terminateIf(condition: boolean): void {
    if (condition) this.#socket.terminate()
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#activity = this.#host.now
    this.#socket.resume()
  }
}
