import { Rtnetlink, setMaximumSegmentSize } from '@xoffload/linux'
import { type GatewayServer, tunnelOverhead } from '../config/index.ts'

/** IP and TCP headers without options: what an MSS leaves out (RFC 6691). */
const HEADERS = { 4: 20 + 20, 6: 40 + 20 } as const

/**
 * The largest segment, in bytes, that a client may send so that it fits into the tunnels to these servers: what came in larger ones would be
 * answered with ICMP, which many networks lose. Undefined when there is no tunnel. The path to a server may not be narrower than `device`.
 */
export function segmentSizeFor(servers: readonly GatewayServer[], device: string, family: 4 | 6): number | undefined {
  const overhead = Math.max(0, ...servers.map(({ tunnel }) => (tunnel === undefined ? 0 : tunnelOverhead[tunnel])))
  if (overhead === 0) return undefined
  using rtnetlink = new Rtnetlink()
  const mtu = rtnetlink.link(device)?.mtu
  return mtu === undefined ? undefined : mtu - overhead - HEADERS[family]
}

/** Limits what the listening socket announces to clients. */
export function limitSegmentSize(listener: Bun.TCPSocketListener<unknown>, bytes: number): void {
  // Bun documents no property for the descriptor of a listener in its types.
  setMaximumSegmentSize((listener as unknown as { readonly fd: number }).fd, bytes)
}
