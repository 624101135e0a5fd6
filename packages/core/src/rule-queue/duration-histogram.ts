/** What a {@link DurationHistogram} has seen, in microseconds. All are 0 when there was nothing. */
export interface DurationSummary {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Buckets to each power of two: a percentile is at most one eighth too high. */
const STEPS = 8
/** Up to 2^40 microseconds, twelve days. */
const POWERS = 40

/** How long things took: any number of durations in memory of a fixed size. The buckets grow exponentially. */
export class DurationHistogram {
  readonly #buckets = new Float64Array(STEPS * POWERS)
  #count = 0
  #max = 0

  /** Counts a duration in microseconds. What is negative counts as 0. */
  record(microseconds: number): void {
    const value = Math.max(microseconds, 0)
    const index = bucketOf(value)
    this.#buckets[index] = (this.#buckets[index] as number) + 1
    this.#count += 1
    this.#max = Math.max(this.#max, value)
  }

  summary(): DurationSummary {
    return { count: this.#count, p50: this.#percentile(0.5), p99: this.#percentile(0.99), max: this.#max }
  }

  /** The upper end of the bucket at which the fraction is reached. */
  #percentile(fraction: number): number {
    const rank = Math.ceil(fraction * this.#count)
    let seen = 0
    for (const [index, count] of this.#buckets.entries()) {
      seen += count
      if (seen >= rank && count > 0) return Math.min(upperEnd(index), this.#max)
    }
    return 0
  }
}

function bucketOf(value: number): number {
  if (value < 1) return 0
  const power = Math.min(Math.floor(Math.log2(value)), POWERS - 1)
  const step = Math.min(Math.floor((value / 2 ** power - 1) * STEPS), STEPS - 1)
  return power * STEPS + step
}

function upperEnd(index: number): number {
  return 2 ** Math.floor(index / STEPS) * (1 + ((index % STEPS) + 1) / STEPS)
}
