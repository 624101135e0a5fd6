/** Random numbers from a seed (sfc32, of PractRand): the same ones on every machine. */
export class Random {
  #a = 0
  #b: number
  #c: number
  #d = 1

  /** @param seed a whole number, of which 53 bits count. */
  constructor(seed: number) {
    this.#b = seed >>> 0
    this.#c = Math.floor(seed / 0x1_0000_0000) >>> 0
    for (let round = 0; round < 12; round++) this.next()
  }

  /** A u32. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** A whole number from 0 up to, and not including, `limit`. */
  below(limit: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * limit)
  }

  /** A whole number from `minimum` to `maximum`, both included. */
  between(minimum: number, maximum: number): number {
    return minimum + this.below(maximum - minimum + 1)
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability * 0x1_0000_0000
  }

  /** One of the elements, of which there must be one. */
  pick<T>(elements: readonly T[]): T {
    return elements[this.below(elements.length)] as T
  }
}
