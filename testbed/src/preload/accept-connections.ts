import type { Endpoint } from '@xoffload/core'
import { acceptTcp, listenTcp } from '@xoffload/linux'

/** Looked at so often, milliseconds: no event loop knows the descriptors. */
const INTERVAL = 1

/** Accepts TCP connections for as long as the process runs, as descriptors that nothing reads from. */
export function acceptConnections(endpoint: Endpoint, take: (fd: number) => void): void {
  const listener = listenTcp(endpoint)
  setInterval(() => {
    for (let fd = acceptTcp(listener); fd !== undefined; fd = acceptTcp(listener)) take(fd)
  }, INTERVAL)
}
