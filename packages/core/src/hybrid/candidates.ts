import type { FlowCounters, SteerRule } from '../redirector.ts'

/** A flow that has sent enough, and may be worth a rule in hardware if it goes on so. */
export interface Candidate {
  readonly rule: SteerRule
  /** When it was seen, in microseconds, and what it had sent then. */
  readonly since: number
  readonly counters: FlowCounters
}

/** A limited number of candidates, in the order in which they were seen. */
export class Candidates {
  readonly #limit: number
  readonly #flows = new Map<string, Candidate>()

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#flows.size
  }

  get full(): boolean {
    return this.#flows.size >= this.#limit
  }

  has(id: string): boolean {
    return this.#flows.has(id)
  }

  add(candidate: Candidate): void {
    if (!this.full) this.#flows.set(candidate.rule.flow.id, candidate)
  }

  delete(id: string): void {
    if (this.#flows.size > 0) this.#flows.delete(id)
  }

  clear(): void {
    this.#flows.clear()
  }

  /** The one that was seen first, if that was before `since`. */
  due(since: number): Candidate | undefined {
    const first = this.#flows.values().next().value
    return first !== undefined && first.since <= since ? first : undefined
  }

  /** Takes the candidate out. False when it is not there any more, as when its rule has changed meanwhile. */
  take(candidate: Candidate): boolean {
    const { id } = candidate.rule.flow
    return this.#flows.get(id) === candidate && this.#flows.delete(id)
  }
}
