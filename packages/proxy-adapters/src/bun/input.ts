import { type HeadLimits, type ParsedHead, RequestHeadParser } from '../http/index.ts'

const LF = 0x0a

/** What has been read from a client and not been used yet: the beginning of the next request, and whatever came behind it. */
export class Input {
  readonly #parser: RequestHeadParser
  readonly #headSize: number
  #bytes: Buffer | undefined

  constructor(limits: HeadLimits) {
    this.#parser = new RequestHeadParser(limits)
    this.#headSize = limits.headSize
  }

  get empty(): boolean {
    return this.#bytes === undefined
  }

  /** Whether more has been read than a request head may have: nobody needs more for now. */
  get full(): boolean {
    return this.#bytes !== undefined && this.#bytes.length > this.#headSize
  }

  /** All of it, as it is. */
  get bytes(): Uint8Array {
    return this.#bytes ?? new Uint8Array(0)
  }

  /** Adds what was read. Returns whether it is worth while to look for a request head again. */
  push(chunk: Buffer): boolean {
    const known = this.#bytes
    // Only the end of a line can make a head complete or wrong, so a head that comes in drops is not parsed at every drop.
    const hasLineEnd = known === undefined || chunk.includes(LF)
    this.#bytes = known === undefined ? chunk : joined(known, chunk)
    return hasLineEnd || this.#bytes.length >= this.#headSize
  }

  /** The request head at the beginning, `undefined` when there is nothing. */
  head(): ParsedHead | undefined {
    return this.#bytes && this.#parser.parse(this.#bytes)
  }

  /** Forgets a head that has been read. */
  skip(length: number): void {
    const bytes = this.#bytes
    this.#bytes = bytes === undefined || bytes.length === length ? undefined : bytes.subarray(length)
  }

  /** All of it, for whoever reads a body; what is behind the body comes back with {@link push}. */
  take(): Buffer {
    const bytes = this.#bytes ?? Buffer.alloc(0)
    this.#bytes = undefined
    return bytes
  }

  /** Nobody reads it any more. It is overwritten: it may have secrets of a client who is served elsewhere now. */
  drop(): void {
    this.#bytes?.fill(0)
    this.#bytes = undefined
  }
}

/** Both in one; they are overwritten. */
function joined(known: Buffer, chunk: Buffer): Buffer {
  const both = Buffer.concat([known, chunk])
  known.fill(0)
  chunk.fill(0)
  return both
}
