import {
  type FlowKey,
  type HandoffDestination,
  type HandoffOutcome,
  type OutgoingMessage,
  type SelectionRequest,
  sameHandoff,
  XoffloadError,
  type YieldMessage,
} from '@xoffload/core'
import { parseRequestHead } from '@xoffload/proxy-adapters/http'
import type { ControlChannel } from '../control/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import type { FlowEntry, Recall } from './flow-table.ts'
import type { Journal } from './journal.ts'
import { OrderError } from './order-error.ts'
import { type Selection, selectionRequest } from './selection.ts'
import type { Server } from './server.ts'
import type { Steering } from './steering.ts'

/** After how long a server is asked again for a connection that is to leave it, in milliseconds. */
const RECALL_INTERVAL = 1000
/** How many connections one sweep asks for. */
const MAXIMUM_RECALLS = 1024

/** What {@link Moves} work with. */
export interface MovesOptions {
  readonly steering: Steering
  readonly selection: Selection
  readonly journal: Journal
  readonly log: Log
  /** The longest request head that is taken, bytes. */
  readonly headBytes: number
  /** This gateway as the target of a handoff. */
  readonly gateway: { readonly name: string; readonly destination: HandoffDestination }
}

/** Where a connection that a server has yielded goes. */
type Choice = { readonly server: Server } | 'gateway' | 'stay'

/** Moves connections that are at servers: when a server yields one, or when an operator wants it. */
export class Moves {
  readonly #steering: Steering
  readonly #selection: Selection
  readonly #journal: Journal
  readonly #log: Log
  readonly #headBytes: number
  readonly #gateway: MovesOptions['gateway']
  /** Entries with a recall. */
  readonly #recalled = new Set<FlowEntry>()
  /** Whether connections stay where they are: another process is taking over. */
  paused = false

  constructor({ steering, selection, journal, log, headBytes, gateway }: MovesOptions) {
    this.#steering = steering
    this.#selection = selection
    this.#journal = journal
    this.#log = log
    this.#headBytes = headBytes
    this.#gateway = gateway
  }

  /** A server has brought a connection to a request boundary, and waits for what becomes of it. */
  yielded(channel: ControlChannel, message: YieldMessage): void {
    const entry = this.#steering.flows.get(message.flow)
    const keep = (): void => this.#send(channel, { type: 'keep', handoff: message.handoff, epoch: message.epoch })
    // It may come in one piece with the word that the handoff is done.
    const early = entry?.state === 'moving' ? this.#steering.flows.early(entry, channel.host) : undefined
    if (early !== undefined) {
      early.yield = message
      return
    }
    const known =
      entry?.state === 'steered' && entry.server.name === channel.host && sameHandoff(entry.reference, message)
    if (!known || this.paused) {
      keep()
      return
    }
    const choice = this.#choose(entry, message)
    if (choice === 'stay') {
      // What is to leave it is asked for again in a while.
      if (entry.recall !== undefined) entry.recall.at = performance.now()
      keep()
      return
    }
    this.#move(entry, choice).then(
      (handedOff) => handedOff || keep(),
      (error) => this.#broken(message.flow, error),
    )
  }

  /** The handoff of the flow is over and its connection is at the entry's server: what has come early is looked at now. */
  settled(entry: FlowEntry): void {
    const early = this.#steering.flows.takeEarly(entry)
    const channel = entry.server.destination?.channel
    // One of an earlier connection means nothing.
    if (sameHandoff(entry.reference, early.end)) this.#steering.end(entry)
    else if (early.yield !== undefined && channel !== undefined) this.yielded(channel, early.yield)
  }

  /** Asks for a connection at its next request boundary, to give it to `target`. Throws {@link OrderError} `busy`. */
  order(entry: FlowEntry, target: Server, told: Pick<Recall, 'done' | 'gone'> = {}): void {
    if (entry.recall?.done !== undefined) throw new OrderError('busy', `${entry.flow} is being moved already`)
    entry.recall = { at: 0, target, ...told }
    this.#recalled.add(entry)
    this.#recall(entry)
  }

  /** Takes an order back that has not been carried out. */
  cancel(entry: FlowEntry): void {
    delete entry.recall
  }

  /** Asks for the connections that are to leave their servers, again where nothing has come of it. To be called now and then. */
  sweep(draining: readonly Server[]): void {
    for (const server of draining) {
      for (const entry of this.#steering.flows.of(server)) {
        if (entry.state !== 'steered') continue
        entry.recall ??= { at: 0 }
        this.#recalled.add(entry)
      }
    }
    let asked = 0
    for (const entry of this.#recalled) {
      const { recall, server } = entry
      const meant = recall !== undefined && (recall.target !== undefined || server.draining)
      if (!meant || !this.#steering.flows.holds(entry)) {
        delete entry.recall
        this.#recalled.delete(entry)
      } else if (entry.state === 'steered' && asked < MAXIMUM_RECALLS && this.#recall(entry)) {
        asked++
        // Those that were not asked yet come first the next time.
        this.#recalled.delete(entry)
        this.#recalled.add(entry)
      }
    }
  }

  /** Asks the server, unless it was asked a moment ago. */
  #recall({ flow, server, reference, recall }: FlowEntry): boolean {
    const now = performance.now()
    const channel = server.destination?.channel
    if (recall === undefined || reference === undefined || !channel?.connected) return false
    if (recall.at !== 0 && now - recall.at < RECALL_INTERVAL) return false
    recall.at = now
    this.#send(channel, { type: 'recall', ...reference, flow })
    return true
  }

  #choose(entry: FlowEntry, { responding, request, flow }: YieldMessage): Choice {
    const { server, recall } = entry
    if (recall?.target !== undefined) return recall.target === server ? 'stay' : { server: recall.target }
    if (responding) {
      const other = this.#selection.other(server)
      return other === undefined || !server.draining ? 'stay' : { server: other }
    }
    const next = this.#requestOf(request, flow.client)
    // Who answers the next request is decided when it is there. Until then the connection waits: here when it has to leave its server,
    // else there, as when it was asked for and the order has been taken back since.
    if (next === undefined) return server.draining ? 'gateway' : 'stay'
    try {
      const target = this.#selection.target(next)
      if (target === undefined || target === server) return 'stay'
      return { server: target }
    } catch (error) {
      this.#broken(flow, error)
      return 'stay'
    }
  }

  #requestOf(bytes: Uint8Array, client: SelectionRequest['client']): SelectionRequest | undefined {
    const head = parseRequestHead(bytes, { headSize: this.#headBytes })
    return head.kind === 'head' ? selectionRequest(head, client) : undefined
  }

  /** True when the connection has left its server. */
  async #move(entry: FlowEntry, choice: { readonly server: Server } | 'gateway'): Promise<boolean> {
    const { flow, server: from, reference: connection, recall } = entry
    const source = from.destination
    const target = choice === 'gateway' ? undefined : choice.server
    const destination = target === undefined ? this.#gateway.destination : target.destination
    if (source === undefined || connection === undefined || destination === undefined) return false
    this.#steering.flows.move(entry, target)
    const yielded = { flow, channel: source.channel, connection, steer: source.steer }
    const outcome = await this.#steering.coordinator.handOff(yielded, destination)
    this.#journal.handoff({
      flow,
      direction: target === undefined ? 'server-to-gateway' : 'server-to-server',
      from: from.name,
      to: target?.name ?? this.#gateway.name,
      outcome,
    })
    // An order ends with its first attempt; what is to leave its server is asked for again.
    if (outcome.result !== 'rolled-back' || recall?.target !== undefined) {
      if (entry.recall === recall) delete entry.recall
      recall?.done?.(outcome)
    }
    if (this.#steering.flows.holds(entry)) this.#conclude(entry, target, outcome)
    return outcome.result === 'handed-off'
  }

  #conclude(entry: FlowEntry, target: Server | undefined, { result, handoff }: HandoffOutcome): void {
    const { flows, coordinator } = this.#steering
    if (result === 'lost' || (result === 'handed-off' && target === undefined)) {
      flows.delete(entry)
      return
    }
    if (target !== undefined && result === 'handed-off') {
      flows.assign(entry, target, { handoff, epoch: coordinator.epoch })
    } else flows.stay(entry)
    this.settled(entry)
  }

  #send(channel: ControlChannel, message: OutgoingMessage): void {
    try {
      channel.send(message)
    } catch (error) {
      // A server that hears nothing goes on with the connection; what is to leave it is asked for again.
      if (!(error instanceof XoffloadError)) throw error
      this.#log('info', { event: 'not-sent', server: channel.host, message: message.type, reason: error.message })
    }
  }

  #broken(flow: FlowKey, error: unknown): void {
    this.#log('errors', { event: 'error', flow, step: 'move', error: errorText(error) })
  }
}
