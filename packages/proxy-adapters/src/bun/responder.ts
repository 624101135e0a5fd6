import { peek, type Socket } from 'bun'
import type { RequestHead } from '../http/index.ts'
import type { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { ConnectionInfo } from './options.ts'
import type { Output } from './output.ts'
import { type PreparedResponse, prepare } from './prepared-response.ts'
import type { RequestFactory, ServedRequest } from './request.ts'
import { EMPTY, type ResponseBody, release, type StreamedBody } from './response-body.ts'
import { continueResponse } from './response-continuation.ts'
import { closingResponse, fieldLines, type ResponseFraming, responseHead } from './response-head.ts'
import { resumableState } from './resumable.ts'
import type { SharedBody } from './shared-body.ts'
import type { StoredBody } from './stored-body.ts'
import { type BodyRead, type BodyReader, type StreamFraming, sendStream } from './stream-sender.ts'
import { Transfer } from './transfer.ts'

/** What a responder tells its connection. */
export interface ResponderOwner {
  /** A part of a response that takes several writes has been given to the output. */
  progressed(exchange: Exchange): void
  /** The response is out. */
  finished(exchange: Exchange, keepAlive: boolean): void
  /** Nothing sensible can be sent any more. */
  broken(): void
}

const NO_BODY: ResponseFraming = { kind: 'none' }
const NOTHING: ResponseFraming = { kind: 'length', contentLength: 0 }
const CONTENT_LENGTH = /^[0-9]{1,15}$/

/** Calls the handler for the requests of one connection and sends its responses. */
export class Responder {
  readonly #host: ConnectionHost
  readonly #socket: Socket<unknown>
  readonly #output: Output
  readonly #owner: ResponderOwner
  readonly #info: ConnectionInfo
  readonly #requests: RequestFactory

  constructor(
    host: ConnectionHost,
    socket: Socket<unknown>,
    {
      output,
      owner,
      info,
      requests,
    }: { output: Output; owner: ResponderOwner; info: ConnectionInfo; requests: RequestFactory },
  ) {
    this.#host = host
    this.#socket = socket
    this.#output = output
    this.#owner = owner
    this.#info = info
    this.#requests = requests
  }

  /** Hands the request to the handler and its response to the client. @param body a complete body, if it is not streamed. */
  run(exchange: Exchange, body: Uint8Array | undefined): void {
    let request: ServedRequest
    try {
      request = this.#requests.create(exchange.head, body ?? exchange.body)
    } catch {
      // The only thing that can be wrong here is the URL: a host or port that the URL standard does not know.
      this.refuse(exchange, 400)
      return
    }
    exchange.request = request
    let result: unknown
    try {
      result = this.#host.fetch(request, this.#info)
    } catch (error) {
      this.#fail(exchange, error)
      return
    }
    if (result instanceof Response) {
      this.#respond(exchange, result)
      return
    }
    if (result instanceof Promise && peek.status(result) === 'fulfilled') {
      this.#respond(exchange, peek(result))
      return
    }
    Promise.resolve(result).then(
      (response) => this.#respond(exchange, response),
      (error) => this.#fail(exchange, error),
    )
  }

  /** Sends the rest of a response that another server has begun. */
  continue(exchange: Exchange, response: InterruptedResponse): void {
    const context = { host: this.#host, output: this.#output, owner: this.#owner, info: this.#info }
    void continueResponse(exchange, response, context)
  }

  /** Answers with an error of the server's own; the connection closes after it. */
  refuse(exchange: Exchange | undefined, status: number): void {
    if (exchange?.responding) {
      this.#owner.broken()
      return
    }
    if (exchange !== undefined) exchange.responding = true
    this.#output.send(closingResponse(this.#host.prefix, status))
    if (exchange !== undefined) this.#owner.finished(exchange, false)
  }

  #respond(exchange: Exchange, response: unknown): void {
    if (exchange.abandoned) {
      discard(response)
      return
    }
    let prepared: PreparedResponse
    try {
      prepared = prepare(response, this.#socket)
    } catch (error) {
      this.#fail(exchange, error)
      return
    }
    this.#send(exchange, prepared)
  }

  #send(exchange: Exchange, prepared: PreparedResponse): void {
    const { response, body } = prepared
    const bodiless = response.status === 204 || response.status === 304
    if (bodiless) this.#sendWhole(exchange, prepared, NO_BODY, true)
    else if (exchange.head.method === 'HEAD')
      this.#sendWhole(exchange, prepared, framingOf(prepared, exchange.head), true)
    else if (body.kind === 'stream') void this.#sendStream(exchange, prepared, body)
    else this.#sendWhole(exchange, prepared, framingOf(prepared, exchange.head), false)
  }

  /** Sends a response that needs no waiting. @param silent whether its body stays here. */
  #sendWhole(exchange: Exchange, prepared: PreparedResponse, framing: ResponseFraming, silent: boolean): void {
    const { body } = prepared
    exchange.responding = true
    const keepAlive = this.#keepsAlive(exchange, prepared, framing)
    const text = this.#head(exchange, prepared, framing, keepAlive)
    this.#output.send(text, silent ? undefined : inMemory(body))
    if (!this.#output.blocked) {
      release(body)
      this.#owner.finished(exchange, keepAlive)
      return
    }
    if (framing.kind === 'length' && !silent)
      this.#beginTransfer(exchange, prepared, framing, keepAlive).advance(framing.contentLength)
    void this.#output.drained().then((open) => {
      release(body)
      if (open) this.#owner.finished(exchange, keepAlive)
    })
  }

  async #sendStream(exchange: Exchange, prepared: PreparedResponse, { stream, file }: StreamedBody): Promise<void> {
    let reader: BodyReader | undefined
    try {
      reader = stream.getReader() as BodyReader
      exchange.reader = reader
      let first = readNow(reader)
      if (file !== undefined) {
        // A file that cannot be read says so at the first read, when the client can still be told.
        first = await first
        if (exchange.abandoned || exchange.responding) return void reader.cancel().catch(() => {})
      }
      if (!(first instanceof Promise) && first.done)
        return this.#sendWhole(exchange, { ...prepared, body: EMPTY }, NOTHING, false)
      exchange.responding = true
      const framing = framingOf(prepared, exchange.head) as StreamFraming
      const keepAlive = this.#keepsAlive(exchange, prepared, framing)
      const text = this.#head(exchange, prepared, framing, keepAlive)
      const transfer = this.#beginTransfer(exchange, prepared, framing, keepAlive)
      if (await sendStream(this.#output, text, reader, first, transfer)) this.#owner.finished(exchange, keepAlive)
    } catch (error) {
      reader?.cancel(error).catch(() => {})
      this.#fail(exchange, error)
    }
  }

  #beginTransfer(
    exchange: Exchange,
    { response }: PreparedResponse,
    framing: StreamFraming,
    keepAlive: boolean,
  ): Transfer {
    const state = this.#host.resume === undefined ? undefined : resumableState(response)
    const onProgress = () => this.#owner.progressed(exchange)
    exchange.transfer = new Transfer({ framing, keepAlive, state, onProgress })
    return exchange.transfer
  }

  #head(
    exchange: Exchange,
    { response, headers, lines, body }: PreparedResponse,
    framing: ResponseFraming,
    keepAlive: boolean,
  ): string {
    const contentType =
      framing === NO_BODY ? undefined : body.kind === 'stream' ? fileType(body.file) : body.contentType
    const sayKeepAlive = exchange.head.version === '1.0'
    const context = { prefix: this.#host.prefix, framing, keepAlive, sayKeepAlive }
    return responseHead(response, lines ?? fieldLines(headers, contentType), context)
  }

  #fail(exchange: Exchange, error: unknown): void {
    // An abandoned handler mostly fails with the reason of its own abort signal, or with what a called function made of it.
    if (
      exchange.abandoned &&
      (error === this.#requests.abortReason || (error instanceof Error && error.name === 'AbortError'))
    )
      return
    const response = this.#host.report(error, exchange.request)
    if (exchange.abandoned) return
    if (exchange.responding) {
      this.#owner.broken()
      return
    }
    // What `onError` returned cannot be sent either.
    if (exchange.failed) {
      this.refuse(exchange, 500)
      return
    }
    exchange.failed = true
    try {
      this.#send(exchange, prepare(response, this.#socket))
    } catch (failure) {
      this.#fail(exchange, failure)
    }
  }

  #keepsAlive(exchange: Exchange, { headers }: PreparedResponse, framing: ResponseFraming): boolean {
    if (framing.kind === 'close') return false
    // A client that still waits for 100 may or may not send its body now: the next request's start would be a guess.
    if (!exchange.head.keepAlive || this.#host.stopping || exchange.awaitsContinue || exchange.truncated) return false
    return headers?.get('connection')?.toLowerCase() !== 'close'
  }
}

function discard(response: unknown): void {
  if (response instanceof Response && !response.bodyUsed) void response.body?.cancel().catch(() => {})
}

/** The outcome of a read: at once when there is one, so that a stream that is ready costs no waiting. */
function readNow(reader: BodyReader): BodyRead | Promise<BodyRead> {
  const read = reader.read()
  return peek.status(read) === 'fulfilled' ? peek(read) : read
}

function framingOf({ headers, body }: PreparedResponse, head: RequestHead): ResponseFraming {
  const declared = headers?.get('content-length') ?? undefined
  const length = declared !== undefined && CONTENT_LENGTH.test(declared) ? Number(declared) : undefined
  if (body.kind === 'stored') return { kind: 'length', contentLength: body.stored.length }
  if (body.kind === 'shared') return { kind: 'length', contentLength: body.shared.length }
  if (body.kind === 'bytes') {
    // A response to HEAD may declare the length that GET would have.
    const contentLength =
      head.method === 'HEAD' && body.bytes.length === 0 && length !== undefined ? length : body.bytes.length
    return { kind: 'length', contentLength }
  }
  if (body.file !== undefined && Number.isFinite(body.file.size))
    return { kind: 'length', contentLength: body.file.size }
  if (length !== undefined) return { kind: 'length', contentLength: length }
  return { kind: head.version === '1.1' ? 'chunked' : 'close' }
}

/** What is sent of a body that is no stream. */
function inMemory(body: ResponseBody): Uint8Array | StoredBody | SharedBody | undefined {
  switch (body.kind) {
    case 'bytes':
      return body.bytes
    case 'stored':
      return body.stored
    case 'shared':
      return body.shared
    case 'stream':
      return undefined
  }
}

function fileType(file: Blob | undefined): string | undefined {
  return file === undefined || file.type === '' ? undefined : file.type
}
