/** Pseudo-random numbers that follow from their seed: xoshiro128** (Blackman and Vigna, 2018), filled by a hash of the seed's words. */
export class Random {
  /** The same for some thousands of inputs one after the other: what is costly to make is made anew with it. */
  readonly block: number
  #a: number
  #b: number
  #c: number
  #d: number

  /** `words` are u32. `block` is any u32. */
  constructor(words: readonly number[], block = 0) {
    this.block = block
    let state = 0x9e3779b9
    for (const word of words) state = mix((state ^ word) >>> 0)
    const next = () => {
      state = (state + 0x9e3779b9) >>> 0
      return mix(state)
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    this.#d = next() | 1
  }

  /** A u32. */
  u32(): number {
    const result = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = rotate(this.#d, 11)
    return result
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * limit)
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  /** One of the entries. The list must not be empty. */
  pick<Value>(values: ArrayLike<Value>): Value {
    return values[this.below(values.length)] as Value
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() >>> 24)
  }

  /** A length from 0 to `maximum`: short ones are as likely as long ones. */
  length(maximum: number): number {
    return this.below(2 ** this.below(Math.ceil(Math.log2(maximum + 1)) + 1)) % (maximum + 1)
  }
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

/** The finalizer of MurmurHash3 (Appleby, 2011). */
function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** A u32 for any bytes or text. */
export function hashOf(value: Uint8Array | string): number {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
  let hash = bytes.length
  for (const byte of bytes) hash = mix((hash ^ byte) >>> 0)
  return hash
}
