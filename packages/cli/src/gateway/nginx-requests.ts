import { type FlowKey, formatEndpoint, type HandoffFailureReason, type HandoffOutcome } from '@xoffload/core'
import { parseRequestHead, type RequestHead } from '@xoffload/proxy-adapters/http'
import type { NginxArrival, NginxVerdict } from '@xoffload/proxy-adapters/nginx'
import type { NginxConfig } from '../config/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import { SocketOrigin } from '../runtime/socket-origin.ts'
import type { Handoffs } from './handoffs.ts'
import type { Journal } from './journal.ts'
import type { NginxPeers } from './nginx-peers.ts'
import type { Recovery } from './recovery.ts'
import { type Selection, selectionRequest } from './selection.ts'
import type { Server } from './server.ts'

/** How many of nginx's servers are remembered as unknown, so that each is reported once. */
const MAXIMUM_UNKNOWN = 1024
/** Failures of handoffs for which the server is to blame. */
const SERVER_FAILURES: readonly HandoffFailureReason[] = ['channel-lost', 'accept-timeout', 'target-lost']

/** What {@link NginxRequests} work with. */
export interface NginxRequestsOptions {
  /** Who chooses the server. */
  readonly choice: NginxConfig['selection']
  readonly selection: Selection
  readonly peers: NginxPeers
  readonly handoffs: Handoffs
  /** Whether the flow is one of a service address. */
  readonly serves: (flow: FlowKey) => boolean
  readonly recovery: Pick<Recovery, 'isUndecided'>
  readonly limits: { readonly headBytes: number; readonly connections: number }
  readonly journal: Journal
  readonly log: Log
}

type Refusal = Extract<NginxVerdict, { readonly result: 'refused' }>

/**
 * What happens to a connection that nginx offers at a request: it is handed off, or stays with nginx, which proxies the request as it would
 * without a gateway.
 */
export class NginxRequests {
  readonly #options: NginxRequestsOptions
  readonly #unknown = new Set<string>()
  /** Descriptors that are open here: of handoffs in flight, and frozen ones in their grace period. */
  #open = 0
  /** Whether nginx keeps everything. */
  paused = false

  constructor(options: NginxRequestsOptions) {
    this.#options = options
  }

  /** The request is in `arrival.received`. Nobody reads the connection meanwhile. */
  async requested(arrival: NginxArrival): Promise<NginxVerdict> {
    const { journal, log } = this.#options
    if (arrival.requests === 1) journal.accepted++
    const server = this.#admit(arrival) ?? this.#choose(arrival)
    if (!('result' in server)) return await this.#handOff(arrival, server)
    log('handoffs', { event: 'left-to-nginx', flow: arrival.flow, server: arrival.server, reason: server.reason })
    return server
  }

  /** Why no connection, or not this one, can be taken. */
  #admit({ flow }: NginxArrival): Refusal | undefined {
    const { serves, recovery, limits } = this.#options
    if (this.paused) return refused('another process of the gateway is taking over')
    if (!serves(flow)) return refused(`${formatEndpoint(flow.service)} is no service address: name it in "service"`)
    if (recovery.isUndecided(flow)) return refused('its last handoff was not finished: the servers are being asked')
    if (this.#open >= limits.connections) return refused(`${this.#open} connections are open: see limits.connections`)
    return undefined
  }

  #choose(arrival: NginxArrival): Server | Refusal {
    const { choice, limits } = this.#options
    const head = parseRequestHead(arrival.received, { headSize: limits.headBytes })
    // What a server could understand differently than nginx is not moved.
    if (head.kind === 'error') return refused(head.reason)
    if (head.kind !== 'head' || head.headLength !== arrival.headLength) return refused('the request has no clear end')
    return choice === 'nginx' ? this.#chosenByNginx(arrival) : this.#chosenHere(head, arrival.flow)
  }

  #chosenHere(head: RequestHead, { client }: FlowKey): Server | Refusal {
    const { selection, log } = this.#options
    try {
      return selection.target(selectionRequest(head, client)) ?? refused('no server takes connections')
    } catch (error) {
      log('errors', { event: 'error', step: 'select', error: errorText(error) })
      return refused('no server could be selected')
    }
  }

  #chosenByNginx(arrival: NginxArrival): Server | Refusal {
    const server = this.#options.peers.find(arrival)
    if (server === undefined) return this.#isUnknown(arrival)
    if (server.draining) return this.#passedOver(server, `${server.name} is being drained`)
    if (!server.up) return this.#passedOver(server, `${server.name} is not connected`)
    return server
  }

  #isUnknown({ server, address }: NginxArrival): Refusal {
    const reason = `${server} (${address}) is no server of this gateway, or several: name its address in one of servers[].proxy`
    if (!this.#unknown.has(server) && this.#unknown.size < MAXIMUM_UNKNOWN) {
      this.#unknown.add(server)
      this.#options.log('errors', { event: 'nginx-server-unknown', reason })
    }
    return refused(reason)
  }

  async #handOff(arrival: NginxArrival, server: Server): Promise<NginxVerdict> {
    const { destination } = server
    if (destination === undefined) return refused(`${server.name} is not connected`)
    const close = (): void => this.#close(arrival)
    const { flow, fd, received } = arrival
    const origin = new SocketOrigin({ flow, fd, shared: true, received: () => received, terminate: close })
    this.#open++
    // The target has it, and the frozen socket stays for a while.
    const arrived = (): void => void received.fill(0)
    const outcome = await this.#options.handoffs.handOff({ origin, server, destination, arrived })
    if (outcome.result !== 'handed-off') {
      origin.closed()
      close()
    }
    return this.#verdict(server, outcome)
  }

  #verdict(server: Server, { result, failure }: HandoffOutcome): NginxVerdict {
    if (result === 'handed-off') return { result }
    const reason = failure === undefined ? result : `${failure.reason}: ${failure.text}`
    if (result === 'lost') return { result, reason }
    const isServers = this.#options.choice === 'nginx' && failure && SERVER_FAILURES.includes(failure.reason)
    return isServers ? this.#passedOver(server, reason) : refused(reason)
  }

  /**
   * nginx is to take another server for a while, as `max_fails` and `fail_timeout` say; but not the last one from it: it can still proxy to
   * that.
   */
  #passedOver(server: Server, reason: string): Refusal {
    return { ...refused(reason), serverFailed: this.#options.selection.other(server) !== undefined }
  }

  #close(arrival: NginxArrival): void {
    if (arrival.closed) return
    this.#open--
    arrival.close()
  }
}

function refused(reason: string): Refusal {
  return { result: 'refused', reason }
}
