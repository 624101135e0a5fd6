import { type FlowKey, RedirectorError } from '@xoffload/core'

/** The filter of a flow. */
export interface RuleEntry {
  readonly flow: FlowKey
  readonly handle: number
  /** Of the rule that is in force: 0 to 255. */
  generation: number
}

/** Handle 1 is the pin's. */
const FIRST_HANDLE = 2
const LAST_HANDLE = 0x7fffffff

/** Which flows have filters, and with which handles. */
export class RuleTable {
  readonly #entries = new Map<string, RuleEntry>()
  readonly #handles = new Set<number>()
  #next = FIRST_HANDLE

  get size(): number {
    return this.#entries.size
  }

  get(flow: FlowKey): RuleEntry | undefined {
    return this.#entries.get(flow.id)
  }

  /** A new entry with a handle that none of the others has. */
  add(flow: FlowKey): RuleEntry {
    while (this.#handles.has(this.#next)) this.#advance()
    const entry = { flow, handle: this.#next, generation: 0 }
    this.#advance()
    return this.#insert(entry)
  }

  /** An entry that an earlier process has made. False when the flow has one already. */
  adopt(entry: RuleEntry): boolean {
    if (this.#entries.has(entry.flow.id)) return false
    if (this.#handles.has(entry.handle)) {
      throw new RedirectorError('busy', `two filters have the handle ${entry.handle}: they are not from here`)
    }
    this.#insert(entry)
    return true
  }

  delete(entry: RuleEntry): void {
    this.#entries.delete(entry.flow.id)
    this.#handles.delete(entry.handle)
  }

  entries(): RuleEntry[] {
    return [...this.#entries.values()]
  }

  #insert(entry: RuleEntry): RuleEntry {
    this.#entries.set(entry.flow.id, entry)
    this.#handles.add(entry.handle)
    return entry
  }

  #advance(): void {
    this.#next = this.#next === LAST_HANDLE ? FIRST_HANDLE : this.#next + 1
  }
}
