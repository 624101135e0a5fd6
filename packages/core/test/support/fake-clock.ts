import type { Clock } from '../../src/index.ts'

/** A clock that stands still until it is told to go on. */
export class FakeClock implements Clock {
  #now = 1_000_000
  #order = 0
  readonly #pending = new Map<number, { readonly at: number; readonly callback: () => void }>()

  /** Timers that have not fired. */
  get pending(): number {
    return this.#pending.size
  }

  now(): number {
    return this.#now
  }

  after(milliseconds: number, callback: () => void): () => void {
    const key = this.#order++
    this.#pending.set(key, { at: this.#now + milliseconds * 1000, callback })
    return () => this.#pending.delete(key)
  }

  /** Lets time pass without firing anything, as when the process is busy. */
  stall(milliseconds: number): void {
    this.#now += milliseconds * 1000
  }

  /** Fires what is due, in order. `between` runs after each timer. */
  async advance(milliseconds: number, between: () => Promise<void> = async () => {}): Promise<void> {
    const end = this.#now + milliseconds * 1000
    for (;;) {
      const due = [...this.#pending].filter(([, { at }]) => at <= end).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0]
      if (!due) break
      const [key, { at, callback }] = due
      this.#pending.delete(key)
      this.#now = Math.max(this.#now, at)
      callback()
      await between()
    }
    this.#now = Math.max(this.#now, end)
  }
}
