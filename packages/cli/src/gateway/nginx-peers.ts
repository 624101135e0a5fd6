import { endpointKey, parseEndpoint } from '../config/endpoint.ts'
import type { GatewayServer } from '../config/index.ts'
import type { Server } from './server.ts'

/** A server as nginx names it: by its `server` directive, such as `app1:8080`, and by its address. */
export interface NginxPeer {
  readonly server: string
  readonly address: string
}

/**
 * Finds the server that nginx means. In this order: the one whose `proxy` is nginx's address and port; the one whose `name` is the host in
 * nginx's `server` directive; the one whose `control` has nginx's address. The latter two only when the port is not another than that of
 * their `proxy`, which would be another program on the same host. What two servers have in common says nothing.
 */
export class NginxPeers {
  readonly #byProxy: ReadonlyMap<string, Server | undefined>
  readonly #byName: ReadonlyMap<string, Server | undefined>
  readonly #byAddress: ReadonlyMap<string, Server | undefined>

  constructor(configured: readonly GatewayServer[], servers: readonly Server[]) {
    this.#byProxy = unambiguous(
      servers.flatMap((server) => (server.proxy ? [[endpointKey(server.proxy), server]] : [])),
    )
    this.#byName = unambiguous(servers.map((server) => [server.name, server]))
    const addresses = new Map(configured.map(({ name, control }) => [name, control.address]))
    this.#byAddress = unambiguous(servers.map((server) => [addresses.get(server.name) ?? '', server]))
  }

  /** Undefined when it is none of the servers, or more than one. */
  find({ server: named, address }: NginxPeer): Server | undefined {
    const endpoint = parseEndpoint(address)
    const exact = endpoint && this.#byProxy.get(endpointKey(endpoint))
    if (exact !== undefined) return exact
    const server = this.#byName.get(named.replace(/:\d+$/, '')) ?? (endpoint && this.#byAddress.get(endpoint.address))
    const isAnother = server?.proxy !== undefined && server.proxy.port !== endpoint?.port
    return isAnother ? undefined : server
  }
}

function unambiguous(entries: readonly (readonly [key: string, server: Server])[]): Map<string, Server | undefined> {
  const found = new Map<string, Server | undefined>()
  for (const [key, server] of entries) found.set(key, found.has(key) ? undefined : server)
  return found
}
