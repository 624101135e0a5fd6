import type { FlowKey } from '@xoffload/core'
import { check, libc } from '../ffi/libc.ts'
import { AF_INET, AF_INET6, IPPROTO_RAW, SOCK_CLOEXEC, SOCK_RAW } from '../socket/constants.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'
import { closeFd } from '../socket/socket.ts'

const sockaddr = new Uint8Array(SOCKADDR_LENGTH)

/**
 * Lets this host's stack receive an IP packet of the client's. It is sent to the service address, which is local, and so never
 * leaves this host; firewall rules for the loopback device apply to it.
 *
 * The calling thread must be in the socket's network namespace. Throws {@link LinuxError} (`EPERM` without CAP_NET_RAW).
 */
export function receiveSegment(flow: FlowKey, packet: Uint8Array): void {
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
