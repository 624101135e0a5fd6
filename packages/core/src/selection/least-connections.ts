import type { ServerSelector } from './server-selector.ts'

/** The server with the fewest connections; those with equally few take turns. */
export function leastConnections(): ServerSelector {
  let next = 0
  return (_request, servers) => {
    let best = -1
    let fewest = Number.POSITIVE_INFINITY
    for (let tried = 0; tried < servers.length; tried++) {
      const index = (next + tried) % servers.length
      const server = servers[index]
      if (!server?.up || server.connections >= fewest) continue
      best = index
      fewest = server.connections
    }
    if (best >= 0) next = best + 1
    return servers[best]
  }
}
