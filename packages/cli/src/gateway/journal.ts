import type { HandoffOutcome } from '@xoffload/core'
import type { Log } from '../runtime/log.ts'
import type { Direction, GatewayCounts, GatewayEvent, HandoffView } from './operations.ts'

/** How many handoffs are kept for {@link Journal.handoffs}. */
const KEPT = 1000

/** What has happened at a gateway: told to the log and to those who watch, counted, and the last of it kept. */
export class Journal {
  readonly #log: Log
  readonly #listeners = new Set<(event: GatewayEvent) => void>()
  readonly #handoffs: HandoffView[] = []
  readonly #results = new Map<string, { direction: Direction; result: HandoffOutcome['result']; count: number }>()
  #oldest = 0
  accepted = 0
  relayed = 0
  mendedRules = 0

  constructor(log: Log) {
    this.#log = log
  }

  /** Handoffs by direction and result. */
  get results(): GatewayCounts['handoffs'] {
    return [...this.#results.values()]
  }

  /** The last handoffs, the newest first. */
  get handoffs(): readonly HandoffView[] {
    const { length } = this.#handoffs
    return Array.from(
      { length },
      (_, index) => this.#handoffs[(this.#oldest + 2 * length - 1 - index) % length] as HandoffView,
    )
  }

  /** A handoff is over. */
  handoff(handoff: Omit<HandoffView, 'at'>): void {
    const { flow, direction, from, to, outcome } = handoff
    const view = { ...handoff, at: Date.now() }
    if (this.#handoffs.length < KEPT) this.#handoffs.push(view)
    else {
      this.#handoffs[this.#oldest] = view
      this.#oldest = (this.#oldest + 1) % KEPT
    }
    this.#count(direction, outcome.result)
    const { result, failure, times } = outcome
    const level = result === 'handed-off' ? 'handoffs' : result === 'lost' ? 'errors' : 'info'
    this.#log(level, {
      event: 'handoff',
      flow,
      server: to,
      ...(direction !== 'gateway-to-server' && { direction, from }),
      outcome: result,
      ...(failure && { failure }),
      steps: times,
    })
    this.tell({ type: 'handoff', handoff: view })
  }

  tell(event: GatewayEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  watch(listener: (event: GatewayEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #count(direction: Direction, result: HandoffOutcome['result']): void {
    const key = `${direction} ${result}`
    const entry = this.#results.get(key) ?? { direction, result, count: 0 }
    entry.count++
    this.#results.set(key, entry)
  }
}
