import type { FlowKey, HandoffOutcome, HandoffReference, YieldMessage } from '@xoffload/core'
import type { Server } from './server.ts'

/** That a connection is to leave its server at its next request boundary. */
export interface Recall {
  /** When the server was last asked, milliseconds of `performance.now()`. */
  at: number
  /** Where it is to go; else it is selected as for any request. */
  readonly target?: Server
  /** Told of the outcome. */
  readonly done?: (outcome: HandoffOutcome) => void
  /** Told that the connection has ended before it moved. */
  readonly gone?: () => void
}

/** A flow that is being handed off or has been. */
export interface FlowEntry {
  readonly flow: FlowKey
  /** Changed by {@link FlowTable.assign} only. */
  server: Server
  /** `moving` while a handoff is in flight, `steered` while its connection lives at the server, `ended` while late packets are caught. */
  state: 'moving' | 'steered' | 'ended'
  /** The handoff that brought it to the server, once that has happened. */
  reference?: HandoffReference
  /** An end that a server told before the outcome of a handoff was known: it may be that of an earlier connection. */
  earlyEnd?: HandoffReference & { readonly host: string }
  /** A yield that came from a server before the outcome of the handoff was known. */
  earlyYield?: YieldMessage & { readonly host: string }
  recall?: Recall
  /** When it came to its server, milliseconds of `performance.now()`. */
  since: number
  /** How often it has moved. */
  moves: number
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
    return this.#add({ flow, server, state: 'moving', since: performance.now(), moves: 0 })
  }

  /** The flow is steered to a server already: an earlier process of this gateway has handed it over. */
  adopt(flow: FlowKey, server: Server, reference: HandoffReference): FlowEntry {
    return this.#add({ flow, server, state: 'steered', reference, since: performance.now(), moves: 1 })
  }

  /** The connection has come to the server by this handoff. */
  assign(entry: FlowEntry, server: Server, reference: HandoffReference): void {
    if (this.holds(entry)) {
      entry.server.connections--
      server.connections++
    }
    entry.server = server
    entry.reference = reference
    entry.state = 'steered'
    entry.since = performance.now()
    entry.moves++
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
    const { recall } = entry
    delete entry.recall
    recall?.gone?.()
    return true
  }

  values(): Iterable<FlowEntry> {
    return this.#entries.values()
  }

  /** The flows that a server has. */
  *of(server: Server): Iterable<FlowEntry> {
    for (const entry of this.#entries.values()) if (entry.server === server) yield entry
  }

  #add(entry: FlowEntry): FlowEntry {
    this.delete(this.#entries.get(entry.flow.id))
    this.#entries.set(entry.flow.id, entry)
    entry.server.connections++
    return entry
  }
}

/** Whether two references name the same handoff. */
export function sameHandoff(one: HandoffReference | undefined, other: HandoffReference): boolean {
  return one !== undefined && one.handoff === other.handoff && one.epoch === other.epoch
}
