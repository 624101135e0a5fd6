import type { FlowKey, HandoffReference } from '@xoffload/core'
import type { Server } from './server.ts'

/** A flow that is being handed off or has been. */
export interface FlowEntry {
  readonly flow: FlowKey
  readonly server: Server
  /** `moving` until the handoff's outcome is known, `steered` while its connection lives, `ended` while late packets are caught. */
  state: 'moving' | 'steered' | 'ended'
  /** The handoff that brought it to the server, once that has happened. */
  handoff?: number
  /** An end that was told before the outcome of the handoff was known: it may be that of an earlier connection. */
  earlyEnd?: HandoffReference
}

/**
 * The flows that this gateway has rules for. A client may use a port again while the rule of its earlier connection still catches
 * late packets: `begin` then takes the earlier entry's place, and what was planned for that entry is void.
 */
export class FlowTable {
  readonly #entries = new Map<string, FlowEntry>()

  get(flow: FlowKey): FlowEntry | undefined {
    return this.#entries.get(flow.id)
  }

  /** A handoff of the flow begins. */
  begin(flow: FlowKey, server: Server): FlowEntry {
    this.delete(this.#entries.get(flow.id))
    const entry: FlowEntry = { flow, server, state: 'moving' }
    this.#entries.set(flow.id, entry)
    server.connections++
    return entry
  }

  /** Whether the entry is still the flow's. */
  holds(entry: FlowEntry): boolean {
    return this.#entries.get(entry.flow.id) === entry
  }

  /** Forgets the entry. False when another entry has taken its place or it was forgotten before. */
  delete(entry: FlowEntry | undefined): boolean {
    if (entry === undefined || !this.holds(entry)) return false
    this.#entries.delete(entry.flow.id)
    entry.server.connections--
    return true
  }

  /** The flows that a server has. */
  *of(server: Server): Iterable<FlowEntry> {
    for (const entry of this.#entries.values()) if (entry.server === server) yield entry
  }
}
