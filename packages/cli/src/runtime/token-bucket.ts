/**
 * A token bucket that may be overdrawn: it fills at a steady rate up to its size, and what is spent beyond has to be waited for. So work
 * that has come already is done, and the next is done later.
 */
export class TokenBucket {
  readonly #perSecond: number
  readonly #size: number
  readonly #now: () => number
  #tokens: number
  #filledAt: number

  /** Full at first. `now`: a monotonic clock, milliseconds. */
  constructor(perSecond: number, size: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#size = size
    this.#now = now
    this.#tokens = size
    this.#filledAt = now()
  }

  spend(tokens: number): void {
    this.#tokens -= tokens
  }

  /** Milliseconds until nothing is overdrawn, 0 when nothing is. */
  wait(): number {
    const now = this.#now()
    this.#tokens = Math.min(this.#tokens + ((now - this.#filledAt) * this.#perSecond) / 1000, this.#size)
    this.#filledAt = now
    return this.#tokens >= 0 ? 0 : (-this.#tokens * 1000) / this.#perSecond
  }
}
