import { CR, FIELD_VALUE, HEX_VALUE, LF, SEMICOLON } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'
import type { BodyFraming } from './framing.ts'
import { type BodyLimits, DEFAULT_BODY_LIMITS } from './limits.ts'
import { TrailerScanner } from './trailers.ts'

/** What one call of {@link BodyDecoder.push} found. */
export interface BodyProgress {
  readonly kind: 'progress'
  /** Content without framing, as views of the pushed bytes. */
  readonly content: readonly Uint8Array[]
  /** How many of the pushed bytes belong to this body. Less than all of them only when `done`: the rest is the next request. */
  readonly consumed: number
  readonly done: boolean
}

type State = 'size' | 'extension' | 'size-lf' | 'content' | 'content-cr' | 'content-lf' | 'trailers' | 'done'

/** 13 hexadecimal digits stay below 2^53. */
const MAX_SIZE_DIGITS = 13

/**
 * Finds content and end of one request body, incrementally (RFC 9112 6 and 7.1). Holds no content: memory does not grow with the body.
 * Chunk sizes are hexadecimal digits and nothing else, lines end with CRLF; extensions and trailers are checked and counted.
 */
export class BodyDecoder {
  readonly #limits: BodyLimits
  readonly #chunked: boolean
  #state: State
  #remaining = 0
  #received = 0
  #sizeDigits = 0
  #lineSize = 0
  #extensionSize = 0
  #refusal: Refusal | undefined
  #trailers: TrailerScanner | undefined

  constructor(framing: BodyFraming, limits: Partial<BodyLimits> = {}) {
    this.#limits = { ...DEFAULT_BODY_LIMITS, ...limits }
    this.#chunked = framing.kind === 'chunked'
    this.#state = this.#chunked ? 'size' : 'content'
    if (framing.kind !== 'length') {
      if (framing.kind === 'none') this.#state = 'done'
      return
    }
    this.#remaining = framing.contentLength
    if (framing.contentLength === 0) this.#state = 'done'
    if (framing.contentLength > this.#limits.bodySize)
      this.#refusal = refuse(413, 'the request body is larger than the limit')
  }

  /** Whether the whole body has been seen. */
  get done(): boolean {
    return this.#state === 'done' && this.#refusal === undefined
  }

  /** Bytes of content seen so far. */
  get received(): number {
    return this.#received
  }

  /** The trailer fields of a chunked body, empty until `done`. */
  get trailers(): readonly (readonly [name: string, value: string])[] {
    return this.done ? (this.#trailers?.fields ?? []) : []
  }

  /** Takes the next bytes of the connection. After a {@link Refusal} every call returns the same one. */
  push(bytes: Uint8Array): BodyProgress | Refusal {
    const content: Uint8Array[] = []
    let at = 0
    while (at < bytes.length && this.#state !== 'done' && this.#refusal === undefined) {
      at = this.#state === 'content' ? this.#takeContent(bytes, at, content) : this.#takeFraming(bytes, at)
    }
    return this.#refusal ?? { kind: 'progress', content, consumed: at, done: this.#state === 'done' }
  }

  #takeContent(bytes: Uint8Array, at: number, content: Uint8Array[]): number {
    const end = Math.min(bytes.length, at + this.#remaining)
    content.push(bytes.subarray(at, end))
    this.#received += end - at
    this.#remaining -= end - at
    if (this.#remaining === 0) this.#state = this.#chunked ? 'content-cr' : 'done'
    return end
  }

  /** Takes one byte (or, of trailers, as many as there are) that is not content. */
  #takeFraming(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] as number
    switch (this.#state) {
      case 'size':
        this.#takeSize(byte)
        break
      case 'extension':
        this.#takeExtension(byte)
        break
      case 'size-lf':
        if (byte === LF) this.#startChunk()
        else this.#refuse(400, 'a chunk size does not end with CRLF')
        break
      case 'content-cr':
        if (byte === CR) this.#state = 'content-lf'
        else this.#refuse(400, 'a chunk is longer than its size')
        break
      case 'content-lf':
        if (byte === LF) this.#state = 'size'
        else this.#refuse(400, 'a chunk does not end with CRLF')
        break
      case 'trailers':
        return this.#takeTrailers(bytes, at)
    }
    return at + 1
  }

  #takeSize(byte: number): void {
    const value = HEX_VALUE[byte] as number
    this.#lineSize++
    if (value >= 0) {
      if (++this.#sizeDigits > MAX_SIZE_DIGITS) this.#refuse(400, 'a chunk size has too many digits')
      this.#remaining = this.#remaining * 16 + value
    } else if (this.#sizeDigits === 0) this.#refuse(400, 'a chunk size is not a hexadecimal number')
    else if (byte === CR) this.#state = 'size-lf'
    else if (byte === SEMICOLON) this.#state = 'extension'
    else this.#refuse(400, 'a chunk size is not a hexadecimal number')
  }

  #takeExtension(byte: number): void {
    this.#extensionSize++
    this.#lineSize++
    if (this.#lineSize > this.#limits.chunkLineSize) this.#refuse(400, 'a chunk-size line is longer than the limit')
    else if (this.#extensionSize > this.#limits.chunkExtensionSize)
      this.#refuse(413, 'the chunk extensions are larger than the limit')
    else if (byte === CR) this.#state = 'size-lf'
    else if (FIELD_VALUE[byte] !== 1) this.#refuse(400, 'a chunk extension contains a control character')
  }

  #startChunk(): void {
    this.#sizeDigits = 0
    this.#lineSize = 0
    if (this.#remaining === 0) {
      this.#state = 'trailers'
      this.#trailers = new TrailerScanner(this.#limits.trailerSize)
    } else if (this.#received + this.#remaining > this.#limits.bodySize) {
      this.#refuse(413, 'the request body is larger than the limit')
    } else this.#state = 'content'
  }

  #takeTrailers(bytes: Uint8Array, at: number): number {
    const scanner = this.#trailers as TrailerScanner
    const next = scanner.push(bytes, at)
    if (scanner.refusal !== undefined) this.#refusal = scanner.refusal
    else if (scanner.done) this.#state = 'done'
    return next
  }

  #refuse(status: Refusal['status'], reason: string): void {
    this.#refusal = refuse(status, reason)
  }
}
