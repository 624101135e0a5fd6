import { CodecError } from '../errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads big-endian fields from bytes that are not to be trusted. Every read is checked against what is left; `field` names the
 * field in the {@link CodecError} that is thrown. No `DataView`: for the few fields of a message it costs more than it saves.
 */
export class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The number of bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  u8(field: string): number {
    return this.#byte(this.#take(1, field))
  }

  u16(field: string): number {
    const offset = this.#take(2, field)
    return (this.#byte(offset) << 8) | this.#byte(offset + 1)
  }

  u32(field: string): number {
    return this.#word(this.#take(4, field))
  }

  u64(field: string): bigint {
    const offset = this.#take(8, field)
    return (BigInt(this.#word(offset)) << 32n) | BigInt(this.#word(offset + 4))
  }

  /** A u64 that a JavaScript number holds exactly. */
  safeInteger(field: string): number {
    const offset = this.#take(8, field)
    const high = this.#word(offset)
    if (high > 0x1f_ffff) throw new CodecError(`${field} is greater than 2^53 - 1`)
    return high * 0x1_0000_0000 + this.#word(offset + 4)
  }

  /** One byte, 0 or 1. */
  boolean(field: string): boolean {
    const value = this.u8(field)
    if (value > 1) throw new CodecError(`${field} is ${value}: 0 or 1 is expected`)
    return value === 1
  }

  /** A view of the next `length` bytes: not a copy. */
  bytes(length: number, field: string): Uint8Array {
    const offset = this.#take(length, field)
    return this.#bytes.subarray(offset, offset + length)
  }

  /** A u32 that says how many bytes of something follow, at most `maximum`. */
  length(maximum: number, field: string): number {
    const length = this.u32(field)
    if (length > maximum) throw new CodecError(`${field} has ${length} bytes: at most ${maximum} are allowed`)
    return length
  }

  /** A u16 length, at most `maximum`, and that many bytes of well-formed UTF-8. */
  text(maximum: number, field: string): string {
    const length = this.u16(field)
    if (length > maximum) throw new CodecError(`${field} has ${length} bytes: at most ${maximum} are allowed`)
    const bytes = this.bytes(length, field)
    try {
      return utf8.decode(bytes)
    } catch (cause) {
      throw new CodecError(`${field} is not well-formed UTF-8`, { cause })
    }
  }

  /** Throws {@link CodecError} when bytes are left. */
  end(what: string): void {
    if (this.remaining !== 0) throw new CodecError(`${what} has ${this.remaining} bytes too many`)
  }

  #byte(offset: number): number {
    return this.#bytes[offset] as number
  }

  #word(offset: number): number {
    const low = (this.#byte(offset + 1) << 16) | (this.#byte(offset + 2) << 8) | this.#byte(offset + 3)
    return ((this.#byte(offset) << 24) | low) >>> 0
  }

  #take(length: number, field: string): number {
    const offset = this.#offset
    if (length > this.#bytes.length - offset) {
      throw new CodecError(`${field} is cut off: ${length} bytes are expected, ${this.remaining} are left`)
    }
    this.#offset = offset + length
    return offset
  }
}
