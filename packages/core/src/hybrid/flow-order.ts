import type { FlowKey } from '../flow.ts'

/** Nobody waits. */
const ALONE: readonly (() => void)[] = []

/** Lets the operations of one flow happen one after another, in the order in which they came. Those of different flows happen at once. */
export class FlowOrder {
  /** Those that wait for their turn, by the flow of the operation that has it. */
  readonly #waiting = new Map<string, readonly (() => void)[]>()

  /** Whether an operation of the flow is at work or waits. */
  has(flow: FlowKey): boolean {
    return this.#waiting.has(flow.id)
  }

  /** Lines up: undefined when it is this one's turn, else what resolves then. In any case {@link leave} is to be called at its end. */
  enter(flow: FlowKey): Promise<void> | undefined {
    const { id } = flow
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) {
      this.#waiting.set(id, ALONE)
      return undefined
    }
    return new Promise((resolve) => this.#waiting.set(id, [...waiting, resolve]))
  }

  /** It is the next one's turn. */
  leave(flow: FlowKey): void {
    const { id } = flow
    const waiting = this.#waiting.get(id) ?? ALONE
    const next = waiting[0]
    if (next === undefined) this.#waiting.delete(id)
    else this.#waiting.set(id, waiting.slice(1))
    next?.()
  }
}
