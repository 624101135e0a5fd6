/** Runs operations on the same key one after another, in the order of the calls, and those on different keys at the same time. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Resolves or rejects as the operation does. */
  async take<Result>(key: string, operation: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key)
    const mine = before === undefined ? operation() : before.then(operation, operation)
    this.#last.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    }
  }

  /** Resolves when every operation that was begun has ended, however it did. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.allSettled(this.#last.values())
  }
}
