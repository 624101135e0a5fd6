import type { ServerSelector } from './server-selector.ts'

/** One server after the other, in the order of the list. */
export function roundRobin(): ServerSelector {
  let next = 0
  return (_request, servers) => {
    for (let tried = 0; tried < servers.length; tried++) {
      const index = (next + tried) % servers.length
      const server = servers[index]
      if (!server?.up) continue
      next = index + 1
      return server
    }
    return undefined
  }
}
