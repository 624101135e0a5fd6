import type { HandoffCoordinator, SelectionRequest } from '@xoffload/core'
import type { RequestHead } from '@xoffload/proxy-adapters/http'
import { errorText, type Log } from '../runtime/log.ts'
import type { ClientConnection, UnreadableHead } from './client-connection.ts'
import type { Handoffs } from './handoffs.ts'
import type { Journal } from './journal.ts'
import { type Selection, selectionRequest } from './selection.ts'
import type { Server } from './server.ts'

/** What {@link Requests} work with. */
export interface RequestsOptions {
  readonly selection: Selection
  readonly coordinator: HandoffCoordinator
  readonly handoffs: Handoffs
  readonly journal: Journal
  readonly log: Log
  /** Closes a connection because of an error that nobody foresaw. */
  readonly broken: (connection: ClientConnection, error: unknown) => void
}

/** What happens to a connection that is here when a request has come on it: it is handed off, relayed or refused. */
export class Requests {
  readonly #options: RequestsOptions
  /** Requests that wait, while it is not known who is to deal with them. */
  #waiting: (() => void)[] | undefined
  #relayOnly = false

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  /** From now on requests wait. What waits is bounded by the number of connections. */
  pause(): void {
    this.#waiting ??= []
  }

  /** Deals with what has waited. `relayOnly`: nothing is handed off any more. */
  resume({ relayOnly }: { readonly relayOnly: boolean }): void {
    this.#relayOnly = relayOnly
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const request of waiting) request()
  }

  /** The head of a request is complete. The connection is paused. */
  requested(connection: ClientConnection, head: RequestHead): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(() => this.requested(connection, head))
      return
    }
    const { selection, log, broken } = this.#options
    const request = selectionRequest(head, connection.client)
    try {
      const server = this.#relayOnly ? undefined : selection.target(request)
      if (server === undefined) this.#relay(connection, selection.relay(request))
      else this.#handOff(connection, server, request).catch((error) => broken(connection, error))
    } catch (error) {
      log('errors', { event: 'error', step: 'select', error: errorText(error) })
      connection.refuse(503, 'no server could be selected')
    }
  }

  /**
   * What has come is no request head that this host can be sure about, or only half of one when its time is over. Somebody else may read it
   * in another way, or wait longer, so the connection is not moved: a server answers all that comes on it, in its own words, or closes it
   * without one as nginx does. The connection is paused.
   */
  unreadable(connection: ClientConnection, problem: UnreadableHead): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(() => this.unreadable(connection, problem))
      return
    }
    const server = this.#options.selection.anyRelay()
    if (server === undefined) connection.refuse(problem.status, problem.reason)
    else this.#relay(connection, server)
  }

  async #handOff(connection: ClientConnection, server: Server, request: SelectionRequest): Promise<void> {
    const { coordinator, handoffs, selection } = this.#options
    const { destination } = server
    if (destination === undefined) {
      this.#relay(connection, server)
      return
    }
    const origin = connection.originate((gone) => coordinator.clientGone(gone))
    const arrived = (): void => connection.handedOff()
    const { result } = await handoffs.handOff({ origin, server, destination, arrived })
    if (result !== 'rolled-back') return
    this.#relay(connection, server.proxy !== undefined && server.up ? server : selection.relay(request))
  }

  #relay(connection: ClientConnection, server: Server | undefined): void {
    if (connection.isClosed) return
    if (server?.proxy === undefined) {
      connection.refuse(503, 'no server is available')
      return
    }
    this.#options.journal.relayed++
    connection.relay(server, (tried) => this.#options.selection.anyRelay(tried))
  }
}
