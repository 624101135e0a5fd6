/** How long to leave something alone that fails: doubled with each failure, until it succeeds. */
export class BackOff {
  readonly #first: number
  readonly #maximum: number
  #until = 0
  /** Failures one after another. */
  failures = 0

  /** In milliseconds. */
  constructor(first: number, maximum: number) {
    this.#first = first
    this.#maximum = maximum
  }

  /** `now` in microseconds, as everywhere here. */
  isOver(now: number): boolean {
    return now >= this.#until
  }

  failed(now: number): void {
    this.#until = now + Math.min(this.#first * 2 ** this.failures, this.#maximum) * 1000
    this.failures += 1
  }

  succeeded(): void {
    this.failures = 0
    this.#until = 0
  }
}
