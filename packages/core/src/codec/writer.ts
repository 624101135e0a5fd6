import { CodecError } from '../errors.ts'

/**
 * Writes big-endian fields into one buffer whose length is known from the start. A value that its field cannot carry and a write
 * past the end throw {@link CodecError}.
 */
export class Writer {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(length: number) {
    this.#bytes = new Uint8Array(length)
  }

  u8(value: number, field: string): void {
    this.#bytes[this.#take(1, field)] = checked(value, 0xff, field)
  }

  u16(value: number, field: string): void {
    const offset = this.#take(2, field)
    this.#bytes[offset] = checked(value, 0xffff, field) >>> 8
    this.#bytes[offset + 1] = value
  }

  u32(value: number, field: string): void {
    this.#word(this.#take(4, field), checked(value, 0xffff_ffff, field))
  }

  u64(value: bigint, field: string): void {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn)
      throw new CodecError(`${field} ${value} is no unsigned 64-bit number`)
    const offset = this.#take(8, field)
    this.#word(offset, Number(value >> 32n))
    this.#word(offset + 4, Number(value & 0xffff_ffffn))
  }

  safeInteger(value: number, field: string): void {
    checked(value, Number.MAX_SAFE_INTEGER, field)
    const offset = this.#take(8, field)
    this.#word(offset, Math.floor(value / 0x1_0000_0000))
    this.#word(offset + 4, value >>> 0)
  }

  boolean(value: boolean, field: string): void {
    this.#bytes[this.#take(1, field)] = value ? 1 : 0
  }

  bytes(value: Uint8Array, field: string): void {
    this.#bytes.set(value, this.#take(value.length, field))
  }

  /** The buffer, which must be full: no byte goes out that nobody wrote. */
  finish(): Uint8Array {
    if (this.#offset !== this.#bytes.length) {
      throw new CodecError(`${this.#bytes.length} bytes were reserved and ${this.#offset} written`)
    }
    return this.#bytes
  }

  /** What does not fit into a byte of the array is cut off. */
  #word(offset: number, value: number): void {
    this.#bytes[offset] = value >>> 24
    this.#bytes[offset + 1] = value >>> 16
    this.#bytes[offset + 2] = value >>> 8
    this.#bytes[offset + 3] = value
  }

  #take(length: number, field: string): number {
    const offset = this.#offset
    if (length > this.#bytes.length - offset) throw new CodecError(`no room is left for ${field}`)
    this.#offset = offset + length
    return offset
  }
}

function checked(value: number, maximum: number, field: string): number {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new CodecError(`${field} is ${value}: a whole number from 0 to ${maximum} is expected`)
  }
  return value
}
