import { IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET } from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { TCP_REPAIR, TCP_REPAIR_OFF } from './constants.ts'
import { freeze } from './repair.ts'

/**
 * Makes the client say once more what it has received: it gets an empty segment from before its window, and RFC 9293 (section 3.10.7.4)
 * demands an ACK in return. Nothing is sent when the client has sent its FIN (tcp_send_window_probe in net/ipv4/tcp_output.c).
 *
 * For a restored socket with bytes that were sent elsewhere. Their acknowledgement may have reached the origin after its snapshot was
 * taken: a packet is not under a lock when it was on its way through the kernel before. The client would not repeat it, and this
 * socket would wait for its retransmission timeout. Throws {@link LinuxError} (`EPERM` without CAP_NET_ADMIN).
 */
export function sendWindowProbe(fd: number): void {
  freeze(fd)
  setOption(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF, 'setsockopt(TCP_REPAIR)')
  // As in thaw(): without it no new listener could bind to the service port.
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt(SO_REUSEADDR)')
}
