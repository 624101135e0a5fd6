import type { Clock } from '../ports.ts'
import type { TargetState } from './target-state.ts'

/**
 * The last states of handoffs that are over, so that a message that comes twice is answered as it was the first time. Bounded in
 * number and in time; the oldest goes first.
 */
export class FinishedHandoffs {
  readonly #clock: Clock
  readonly #maximumCount: number
  readonly #maximumMicroseconds: number
  readonly #states = new Map<string, { readonly state: TargetState; readonly since: number }>()

  constructor(clock: Clock, maximumCount: number, maximumMilliseconds: number) {
    this.#clock = clock
    this.#maximumCount = maximumCount
    this.#maximumMicroseconds = maximumMilliseconds * 1000
  }

  get size(): number {
    return this.#states.size
  }

  get(key: string): TargetState | undefined {
    return this.#states.get(key)?.state
  }

  add(key: string, state: TargetState): void {
    const since = this.#clock.now()
    this.#states.delete(key)
    this.#states.set(key, { state, since })
    for (const [oldest, entry] of this.#states) {
      if (this.#states.size <= this.#maximumCount && since - entry.since <= this.#maximumMicroseconds) break
      this.#states.delete(oldest)
    }
  }
}
