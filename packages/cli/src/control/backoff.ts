/** Exponential backoff with a cap: the n-th delay is drawn evenly from the upper half of `minimum * 2^n`, at most `maximum`. */
export class Backoff {
  readonly #minimum: number
  readonly #maximum: number
  readonly #random: () => number
  #attempts = 0

  /** Delays in milliseconds; `random` returns numbers from 0 up to and without 1. */
  constructor(minimum: number, maximum: number, random: () => number = Math.random) {
    this.#minimum = minimum
    this.#maximum = maximum
    this.#random = random
  }

  /** The time to wait before the next attempt. */
  next(): number {
    const ceiling = Math.min(this.#minimum * 2 ** this.#attempts, this.#maximum)
    if (ceiling < this.#maximum) this.#attempts++
    // Jitter, so that many gateways do not all come back to a server in the same moment.
    return ceiling / 2 + (ceiling / 2) * this.#random()
  }

  /** The peer was there: the next delay is the shortest again. */
  reset(): void {
    this.#attempts = 0
  }
}
