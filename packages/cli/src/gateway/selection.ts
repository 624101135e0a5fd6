import type { SelectionRequest, ServerSelector } from '@xoffload/core'
import type { RequestHead } from '@xoffload/proxy-adapters/http'
import type { Candidate, Server } from './server.ts'

/** Chooses servers for requests: those that take connections, and those that requests can be relayed to. */
export class Selection {
  readonly #selector: ServerSelector
  readonly #targets: readonly Candidate[]
  readonly #relays: readonly Candidate[]

  constructor(selector: ServerSelector, servers: readonly Server[]) {
    this.#selector = selector
    this.#targets = servers.map((server) => server.asTarget())
    this.#relays = servers.map((server) => server.asRelay())
  }

  /** The server to hand the request's connection to. Throws what a user's function throws. */
  target(request: SelectionRequest): Server | undefined {
    return this.#selector(request, this.#targets)?.server
  }

  /** The server to relay the request to: one that is connected, if there is any. */
  relay(request: SelectionRequest): Server | undefined {
    const connected = this.#relays.filter(({ server }) => server.up)
    return (this.#selector(request, connected) ?? this.#selector(request, this.#relays))?.server
  }

  /**
   * A server to relay to when there is no request to select by, or the selected one could not be reached: of those that are connected, or of
   * all if there is none, the one with the fewest connections. `except`: not one of these.
   */
  anyRelay(except: ReadonlySet<Server> = new Set()): Server | undefined {
    const open = this.#relays.filter(({ server, up }) => up && !except.has(server))
    const connected = open.filter(({ server }) => server.up)
    return fewestConnections(connected.length > 0 ? connected : open)?.server
  }

  /** The server with the fewest connections, for a connection that leaves `server` and has no request to go by. */
  other(server: Server): Server | undefined {
    return fewestConnections(this.#targets.filter((candidate) => candidate.up && candidate.server !== server))?.server
  }
}

function fewestConnections(candidates: readonly Candidate[]): Candidate | undefined {
  let best: Candidate | undefined
  for (const candidate of candidates) {
    if (best === undefined || candidate.connections < best.connections) best = candidate
  }
  return best
}

/** What a server is selected by. */
export function selectionRequest(head: RequestHead, client: SelectionRequest['client']): SelectionRequest {
  return { method: head.method, target: head.target, header: (name) => head.headers.get(name), client }
}
