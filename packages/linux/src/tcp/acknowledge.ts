import { flowOf } from '../socket/socket.ts'
import { freeze, thaw } from './repair.ts'
import { encodeSegment } from './segment.ts'
import { receiveSegment } from './send-packets.ts'
import { getRepairWindow } from './window.ts'

/**
 * Makes an established socket tell its peer now what it has received: one ACK with `rcv_nxt`, the current window and timestamps.
 * Once for a restored connection: the kernel sends at most one such ACK each `net.ipv4.tcp_invalid_ratelimit` (500 ms).
 *
 * A restored socket owes no ACK, though the client may never have got the origin's: the client would retransmit after its timeout.
 * The window probe that TCP_REPAIR sends at its end is no help: it carries `rcv_nxt`, but its sequence number lies before the
 * client's window, so the client drops it with its acknowledgement. Hence this gives the local socket what a keep-alive probe of the
 * client would be, an empty segment from before the window, and RFC 9293 (section 3.10.7.4) demands an ACK in return.
 *
 * The calling thread must be in the socket's network namespace. Throws {@link LinuxError} (`EPERM` without CAP_NET_ADMIN and
 * CAP_NET_RAW, `ENOTCONN` when the connection has ended).
 */
export function acknowledge(fd: number): void {
  const flow = flowOf(fd)
  freeze(fd)
  let lastUpdate: number
  try {
    lastUpdate = getRepairWindow(fd).receiveLastUpdate
  } finally {
    thaw(fd)
  }
  receiveSegment(flow, encodeSegment(flow, { sequence: (lastUpdate - 1) >>> 0 }))
}
