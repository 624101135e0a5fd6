import { check, libc } from '../ffi/libc.ts'
import { AF_INET, AF_INET6, IPPROTO_RAW, SOCK_CLOEXEC, SOCK_RAW } from '../socket/constants.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'
import { closeFd, flowOf } from '../socket/socket.ts'
import { freeze, thaw } from './repair.ts'
import { emptySegment } from './segment.ts'
import { getRepairWindow } from './window.ts'

const sockaddr = new Uint8Array(SOCKADDR_LENGTH)

/**
 * Makes an established socket tell its peer now what it has received: one ACK with `rcv_nxt`, the current window and timestamps.
 * Once for a restored connection: the kernel sends at most one such ACK each `net.ipv4.tcp_invalid_ratelimit` (500 ms).
 *
 * A restored socket owes no ACK, though the client may never have got the origin's: the client would retransmit after its timeout.
 * The window probe that TCP_REPAIR sends at its end is no help: it carries `rcv_nxt`, but its sequence number lies before the
 * client's window, so the client drops it with its acknowledgement. Hence this gives the local socket what a keep-alive probe of the
 * client would be, an empty segment from before the window, and RFC 9293 (section 3.10.7.4) demands an ACK in return. The segment is
 * sent to the service address, which is local, and so never leaves this host; firewall rules for the loopback device apply to it.
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
  const packet = emptySegment(flow, (lastUpdate - 1) >>> 0)
  const family = flow.family === 4 ? AF_INET : AF_INET6
  const raw = check(
    'socket(SOCK_RAW)',
    libc.socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW),
    'this needs CAP_NET_RAW',
  )
  try {
    const length = encodeSockaddr(flow, 'service', sockaddr)
    // A raw IPv6 socket takes the port for a protocol number.
    sockaddr.fill(0, 2, 4)
    check('sendto', Number(libc.sendto(raw, packet, packet.length, 0, sockaddr, length)))
  } finally {
    closeFd(raw)
  }
}
