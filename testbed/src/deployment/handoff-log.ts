import type { HostProcess, WaitOptions } from '../host-process.ts'

/** What the gateway logs of a handoff. */
export interface HandoffRecord {
  readonly event: 'handoff'
  readonly flow: string
  /** The server that it went to; the gateway's name, when it went back there. */
  readonly server: string
  /** Absent when it went from the gateway to a server. */
  readonly direction?: 'server-to-gateway' | 'server-to-server'
  /** Why it did not succeed. */
  readonly failure?: { readonly reason: string; readonly text: string }
  /** `handed-off` when the connection is at the server. */
  readonly outcome: string
  /** Microseconds. `total` is the whole. */
  readonly steps: Readonly<Record<string, number>>
}

/** Follows the handoffs that a gateway logs. */
export class HandoffLog {
  readonly #gateway: HostProcess
  readonly #outcomes = new Map<string, number>()

  constructor(gateway: HostProcess) {
    this.#gateway = gateway
    gateway.stdout.onLine((line) => {
      const record = parseHandoff(line)
      if (record !== undefined) this.#outcomes.set(record.outcome, this.count(record.outcome) + 1)
    })
  }

  /** How many handoffs ended so. */
  count(outcome: string): number {
    return this.#outcomes.get(outcome) ?? 0
  }

  /** The outcomes seen, with their numbers. */
  get outcomes(): ReadonlyMap<string, number> {
    return this.#outcomes
  }

  /** Resolves with the handoff of the connection from this address and port. Throws {@link CommandError} when none is logged. */
  async of(address: string, port: number, options: WaitOptions = {}): Promise<HandoffRecord> {
    const endpoint = `${address}:${port}`.replaceAll('.', '\\.')
    const line = await this.#gateway.line(new RegExp(`"event":"handoff".*[^\\d]${endpoint}[^\\d]`), options)
    const record = parseHandoff(line)
    if (record === undefined) throw this.#gateway.failure(`logged a handoff that cannot be read: ${line}`)
    return record
  }
}

/** The record in a line of a gateway's log, undefined when it is about something else. */
export function parseHandoff(line: string): HandoffRecord | undefined {
  if (!line.includes('"event":"handoff"')) return undefined
  try {
    const record: Partial<HandoffRecord> = JSON.parse(line)
    const { outcome, steps } = record
    return typeof outcome === 'string' && typeof steps === 'object' ? (record as HandoffRecord) : undefined
  } catch {
    // A line that was cut because it was too long.
    return undefined
  }
}
