import type { Clock } from '../ports.ts'
import type { ListedRule } from '../redirector.ts'

export interface PacedPassOptions {
  readonly clock: Clock
  readonly list: () => AsyncIterable<ListedRule>
  /** The most rules in one step. */
  readonly limit: number
  /** Milliseconds between the end of a pass and the next, at least. */
  readonly pause: number
  /** How much of the time it may be at work: a pass that took more makes the pause longer. Default: no limit. */
  readonly share?: number
  readonly begin: () => void
  readonly each: (listed: ListedRule) => void
  readonly end: () => void
}

/** Looks at all rules of a redirector again and again, a few at a time. */
export class PacedPass {
  readonly #options: PacedPassOptions
  #iterator: AsyncIterator<ListedRule> | undefined
  #next: number
  #busy = false
  #began = 0
  /** For how many microseconds the pass was at work. */
  #worked = 0
  /** Passes that were completed, and how long the last one took, in milliseconds. */
  completed = 0
  duration = 0

  constructor(options: PacedPassOptions) {
    this.#options = options
    this.#next = options.clock.now()
  }

  /** Whether a pass has begun and has not ended. */
  get running(): boolean {
    return this.#iterator !== undefined
  }

  /** Goes on with the pass, or begins one when it is time. Does nothing while the step before is still at work. Rejects as `list` does. */
  async step(): Promise<void> {
    if (this.#busy || this.#options.clock.now() < this.#next) return
    this.#busy = true
    const { clock } = this.#options
    const start = clock.now()
    try {
      if (await this.#advance()) this.#complete(start)
      else this.#worked += clock.now() - start
    } catch (error) {
      this.#finish()
      throw error
    } finally {
      this.#busy = false
    }
  }

  /** Gives the list up. */
  stop(): void {
    this.#next = Number.POSITIVE_INFINITY
    // A generator that is at work takes this when it is done; what it says then interests nobody.
    this.#iterator?.return?.().then(undefined, () => {})
    this.#iterator = undefined
  }

  /** Whether the pass is complete. */
  async #advance(): Promise<boolean> {
    const { clock, list, limit, begin, each } = this.#options
    if (this.#iterator === undefined) {
      this.#began = clock.now()
      this.#worked = 0
      begin()
      this.#iterator = list()[Symbol.asyncIterator]()
    }
    const iterator = this.#iterator
    for (let count = 0; count < limit; count++) {
      const { done, value } = await iterator.next()
      // It was stopped meanwhile.
      if (this.#iterator !== iterator) return false
      if (done) return true
      each(value)
    }
    return false
  }

  /** @param start of its last step, in microseconds */
  #complete(start: number): void {
    const { clock, share = 1, end } = this.#options
    const now = clock.now()
    this.completed += 1
    this.duration = (now - this.#began) / 1000
    this.#finish((this.#worked + now - start) / share - (now - this.#began))
    end()
  }

  /** @param pause the least until the next one, in microseconds */
  #finish(pause = 0): void {
    const { clock, pause: usual } = this.#options
    this.#iterator = undefined
    if (this.#next !== Number.POSITIVE_INFINITY) this.#next = clock.now() + Math.max(usual * 1000, pause)
  }
}
