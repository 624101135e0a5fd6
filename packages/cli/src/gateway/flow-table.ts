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

/** What one server has said of a flow that moves. It may be about an earlier connection of the flow. */
export interface EarlyWords {
  /** The connection has ended. */
  end?: HandoffReference
  /** The connection stands at a request boundary. */
  yield?: YieldMessage
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
  /** While it moves away from its server: where to, undefined when it comes to the gateway. */
  target?: Server | undefined
  /** What the servers of a handoff have said of the flow before its outcome was known, by their names. */
  early?: Map<string, EarlyWords> | undefined
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

  /** The connection is to leave its server, for another one or for the gateway. */
  move(entry: FlowEntry, target: Server | undefined): void {
    entry.state = 'moving'
    entry.target = target
  }

  /** It stays where it is. */
  stay(entry: FlowEntry): void {
    entry.state = 'steered'
    entry.target = undefined
  }

  /** The connection has come to the server by this handoff. */
  assign(entry: FlowEntry, server: Server, reference: HandoffReference): void {
    if (this.holds(entry)) {
      entry.server.connections--
      server.connections++
    }
    entry.server = server
    entry.reference = reference
    this.stay(entry)
    entry.since = performance.now()
    entry.moves++
  }

  /**
   * Where to keep what a server says of a flow that moves; undefined when its handoff does not concern that server. Each has a place of
   * its own, so that none overwrites what another one has said.
   */
  early(entry: FlowEntry, host: string): EarlyWords | undefined {
    if (host !== entry.server.name && host !== entry.target?.name) return undefined
    entry.early ??= new Map()
    const words = entry.early.get(host) ?? {}
    entry.early.set(host, words)
    return words
  }

  /** What the server that has the connection now has said of the flow while it moved. The rest is forgotten. */
  takeEarly(entry: FlowEntry): EarlyWords {
    const words = entry.early?.get(entry.server.name) ?? {}
    entry.early = undefined
    return words
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
