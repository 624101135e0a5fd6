import type { FlowKey } from '../flow.ts'

/** Runs the operations of one flow one after another, in the order in which they were asked for. Those of different flows run at once. */
export class FlowOrder {
  readonly #last = new Map<string, Promise<void>>()

  /** Whether an operation of the flow runs or waits. */
  has(flow: FlowKey): boolean {
    return this.#last.has(flow.id)
  }

  /** Calls the operation when those before it have settled: at once when there is none. */
  run<T>(flow: FlowKey, operation: () => Promise<T>): Promise<T> {
    const { id } = flow
    const result = this.#last.get(id)?.then(operation) ?? operation()
    const end = (): void => {
      if (this.#last.get(id) === settled) this.#last.delete(id)
    }
    const settled = result.then(end, end)
    this.#last.set(id, settled)
    return result
  }
}
