import { parseHandoff } from '../deployment/handoff-log.ts'
import type { HostProcess } from '../host-process.ts'

/** How many lines of the log are kept. */
const KEPT = 50_000

/** Follows the logs of a gateway and its servers: counts handoffs, and keeps the last lines to tell what has happened to a connection. */
export class History {
  readonly #lines: string[] = []
  #oldest = 0
  succeeded = 0
  readonly handoffs = new Map<string, number>()
  /** Numbers of connections that came to each host. */
  readonly arrivals = new Map<string, number>()
  readonly reasons = new Map<string, number>()
  readonly times: number[] = []
  /** Responses that one server began and another one continued. */
  resumed = 0
  /** Lines that say that something went wrong. */
  readonly problems: string[] = []

  constructor(programs: readonly HostProcess[]) {
    for (const { stdout } of programs) stdout.onLine((line) => this.#take(line))
  }

  /** The lines about the connection with this client's end, the oldest first. */
  of(client: string): string[] {
    const lines = [...this.#lines.slice(this.#oldest), ...this.#lines.slice(0, this.#oldest)]
    return lines.filter((line) => line.includes(`"${client}>`))
  }

  #take(line: string): void {
    if (this.#lines.length < KEPT) this.#lines.push(line)
    else {
      this.#lines[this.#oldest] = line
      this.#oldest = (this.#oldest + 1) % KEPT
    }
    const record = parseHandoff(line)
    if (record === undefined) {
      if (line === '{"event":"resumed"}') this.resumed++
      if (line.includes('"event":"error"')) this.problems.push(line)
      return
    }
    const { direction = 'gateway-to-server', outcome, failure, steps } = record
    count(this.handoffs, `${direction} ${outcome}`)
    if (outcome === 'handed-off') {
      this.succeeded++
      count(this.arrivals, record.server)
      this.times.push(steps.total ?? 0)
    }
    if (failure !== undefined) count(this.reasons, `${direction} ${outcome}: ${failure.reason}`)
    // A handoff that was rolled back harms nobody.
    if (outcome === 'lost') this.problems.push(line)
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
