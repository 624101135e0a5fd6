import { CodecError } from '../errors.ts'
import { decodeFields } from './decode.ts'
import type { Message } from './messages.ts'
import { FRAME_HEADER_LENGTH, maximumFieldsLength } from './wire.ts'

/** What is taken of a frame. */
export interface FrameLimits {
  /**
   * The longest frame that is taken, in bytes, the u32 of its length not counted. Default: no other than the limits of the
   * messages' own fields, 48 MiB and a little for an offer, 64 KiB for a yield,
   * about 32 KiB for a report, and about 1 KiB for all others.
   */
  readonly maximumFrameLength?: number
}

const INITIAL_CAPACITY = 4096

/**
 * Turns a stream of bytes, cut anywhere, into messages. A length that is too great is refused when the header is there, and memory
 * grows with what has arrived, not with what was announced. After an error the stream has no boundaries any more: every further
 * `push` throws the same error, and the connection is to be closed.
 */
export class FrameDecoder {
  readonly #maximumFrameLength: number
  /** The beginning of a frame that is not complete; the first `#filled` bytes are valid. */
  #partial = new Uint8Array(INITIAL_CAPACITY)
  #filled = 0
  #error: CodecError | undefined

  constructor({ maximumFrameLength = Number.MAX_SAFE_INTEGER }: FrameLimits = {}) {
    this.#maximumFrameLength = maximumFrameLength
  }

  /** The messages that are complete with this chunk, which is not kept. Throws {@link CodecError}; messages before it are lost. */
  push(chunk: Uint8Array): Message[] {
    if (this.#error) throw this.#error
    try {
      return this.#decode(chunk)
    } catch (error) {
      if (error instanceof CodecError) this.#error = error
      this.clear()
      throw error
    }
  }

  /** Forgets a frame that is not complete, and overwrites it: it may be of a snapshot. For when the stream has ended. */
  clear(): void {
    this.#partial.fill(0)
    this.#partial = new Uint8Array(INITIAL_CAPACITY)
    this.#filled = 0
  }

  #decode(chunk: Uint8Array): Message[] {
    const messages: Message[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#filled > 0) {
        offset += this.#complete(chunk.subarray(offset), messages)
        continue
      }
      const rest = chunk.subarray(offset)
      const end = rest.length < FRAME_HEADER_LENGTH ? Number.POSITIVE_INFINITY : this.#frameEnd(rest)
      if (end > rest.length) {
        this.#keep(rest)
        break
      }
      messages.push(decodeFields(rest[4] ?? 0, rest.subarray(FRAME_HEADER_LENGTH, end)))
      offset += end
    }
    return messages
  }

  /** Adds to the partial frame as much of `rest` as belongs to it; returns how much that was. */
  #complete(rest: Uint8Array, messages: Message[]): number {
    if (this.#filled < FRAME_HEADER_LENGTH) {
      const header = rest.subarray(0, FRAME_HEADER_LENGTH - this.#filled)
      this.#keep(header)
      // Checked at once: a frame that is too long is refused before anything of it is waited for.
      if (this.#filled === FRAME_HEADER_LENGTH) this.#finishAt(this.#frameEnd(this.#partial), messages)
      return header.length
    }
    const end = this.#frameEnd(this.#partial)
    const missing = rest.subarray(0, end - this.#filled)
    this.#keep(missing)
    this.#finishAt(end, messages)
    return missing.length
  }

  #finishAt(end: number, messages: Message[]): void {
    if (this.#filled !== end) return
    const frame = this.#partial.subarray(FRAME_HEADER_LENGTH, end)
    messages.push(decodeFields(this.#partial[4] ?? 0, frame))
    // It may have had a snapshot in it.
    this.#partial.fill(0, 0, end)
    this.#filled = 0
    // A great frame must not pin its memory for as long as the channel lives.
    if (this.#partial.length > INITIAL_CAPACITY * 16) this.#partial = new Uint8Array(INITIAL_CAPACITY)
  }

  /** Where the frame that starts at byte 0 ends, checked against the limits. */
  #frameEnd(bytes: Uint8Array): number {
    const length = (((bytes[0] ?? 0) << 24) | ((bytes[1] ?? 0) << 16) | ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)) >>> 0
    const maximum = Math.min(maximumFieldsLength(bytes[4] ?? 0) + 1, this.#maximumFrameLength)
    if (length > maximum) throw new CodecError(`frame of ${length} bytes: at most ${maximum} are allowed`)
    if (length < 1) throw new CodecError('frame without a type')
    return 4 + length
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#filled + bytes.length
    if (needed > this.#partial.length) {
      const grown = new Uint8Array(Math.max(needed, this.#partial.length * 2))
      grown.set(this.#partial.subarray(0, this.#filled))
      this.#partial.fill(0, 0, this.#filled)
      this.#partial = grown
    }
    this.#partial.set(bytes, this.#filled)
    this.#filled = needed
  }
}
