import type { Clock } from '../ports.ts'
import type { ListedRule } from '../redirector.ts'

export interface PacedPassOptions {
  readonly clock: Clock
  readonly list: () => AsyncIterable<ListedRule>
  /** The most rules in one step. */
  readonly limit: number
  /** Milliseconds between the end of a pass and the next. */
  readonly pause: number
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
    try {
      await this.#advance()
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

  async #advance(): Promise<void> {
    const { clock, list, limit, begin, each, end } = this.#options
    if (this.#iterator === undefined) {
      this.#began = clock.now()
      begin()
      this.#iterator = list()[Symbol.asyncIterator]()
    }
    const iterator = this.#iterator
    for (let count = 0; count < limit; count++) {
      const { done, value } = await iterator.next()
      // It was stopped meanwhile.
      if (this.#iterator !== iterator) return
      if (done) {
        this.completed += 1
        this.duration = (clock.now() - this.#began) / 1000
        this.#finish()
        end()
        return
      }
      each(value)
    }
  }

  #finish(): void {
    this.#iterator = undefined
    if (this.#next !== Number.POSITIVE_INFINITY) this.#next = this.#options.clock.now() + this.#options.pause * 1000
  }
}
