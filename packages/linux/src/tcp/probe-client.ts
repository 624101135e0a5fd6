import { FlowKey } from '@xoffload/core'
import { encodeSegment } from './segment.ts'
import { sendPackets } from './send-packets.ts'

/**
 * Makes a client say something on a connection that does not exist here any more, so that this host's stack answers it with an RST: one
 * that only waits for an answer would wait for ever. The client gets an empty segment from outside of its window, and acknowledges what it
 * has (RFC 9293 section 3.10.7.4); that names the sequence number which an RST must have (RFC 5961 section 3.2). To be called when no
 * rule leads the client's packets away.
 *
 * The calling thread must be in the network namespace that has the flow's service address. Throws {@link LinuxError} (`EPERM` without
 * CAP_NET_RAW, `EADDRNOTAVAIL`, `ENETUNREACH`).
 */
export function probeClient({ client, service }: FlowKey): void {
  const back = FlowKey.of(service, client)
  const [sequence = 0] = crypto.getRandomValues(new Uint32Array(1))
  sendPackets(back, [encodeSegment(back, { sequence })])
}
