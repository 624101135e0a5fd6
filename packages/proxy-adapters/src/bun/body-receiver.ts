import { BodyDecoder, type BodyFraming, type Refusal } from '../http/index.ts'
import type { HttpServerLimits } from './options.ts'
import { RequestBody, type RequestBodySource } from './request-body.ts'

/** Receives the body of one request: small ones whole, before the handler is called; others as a stream. */
export class BodyReceiver {
  /** The handler's end of a streamed body, `undefined` when the body is received whole. */
  readonly streamed: RequestBody | undefined
  readonly #decoder: BodyDecoder
  readonly #discardSize: number
  #collected: Uint8Array[] = []
  #discarded = 0

  constructor(framing: BodyFraming, limits: HttpServerLimits, source: RequestBodySource) {
    this.#decoder = new BodyDecoder(framing, limits)
    this.#discardSize = limits.discardSize
    const whole = framing.kind === 'length' && framing.contentLength <= limits.bufferedBodySize
    this.streamed = whole ? undefined : new RequestBody(source, limits.bodyQueueSize)
  }

  /** Whether the whole body has arrived. */
  get done(): boolean {
    return this.#decoder.done
  }

  /** The body, when it was received whole. */
  get content(): Uint8Array {
    const [only] = this.#collected
    return only !== undefined && this.#collected.length === 1 ? only : Buffer.concat(this.#collected)
  }

  /** Whether more of a body that nobody wants has arrived than is worth keeping the connection for. */
  get excessive(): boolean {
    return this.#discarded > this.#discardSize
  }

  /** Takes what belongs to the body. Returns the rest, or why the body is refused. */
  push(chunk: Buffer): Buffer | Refusal {
    const progress = this.#decoder.push(chunk)
    if (progress.kind === 'error') return progress
    for (const content of progress.content) this.#take(content)
    if (progress.done) this.streamed?.close()
    return chunk.subarray(progress.consumed)
  }

  #take(content: Uint8Array): void {
    if (this.streamed === undefined) this.#collected.push(content)
    else if (this.streamed.open) this.streamed.enqueue(content)
    else this.#discarded += content.length
  }
}
