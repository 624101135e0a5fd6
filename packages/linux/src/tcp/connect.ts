import { type Endpoint, FlowKey } from '@xoffload/core'
import { errnoName, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import {
  AF_INET,
  AF_INET6,
  IPPROTO_IP,
  IPPROTO_TCP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'
import { IP_BIND_ADDRESS_NO_PORT, TCP_DEFER_ACCEPT } from './constants.ts'

/** A flow's port is never 0, which the kernel is told. */
const ANY_PORT = 1
const address = new Uint8Array(SOCKADDR_LENGTH)

/**
 * Begins a TCP connection without waiting for it, and returns its descriptor. The last packet of the handshake is held back until the
 * first data go with it (TCP_DEFER_ACCEPT on the side that connects: tcp_rcv_synsent_state_process in net/ipv4/tcp_input.c), so that
 * whoever accepts over loopback finds them there. `write` sends them, as soon as it takes any.
 *
 * @param from an address of this host; the kernel chooses the port. Throws {@link LinuxError} (`EADDRNOTAVAIL`, `EADDRINUSE`,
 * `ECONNREFUSED`, `ENETUNREACH`, `EMFILE`).
 */
export function connectForData(from: string, to: Endpoint): number {
  const flow = FlowKey.of({ address: from, port: ANY_PORT }, to)
  const family = flow.family === 4 ? AF_INET : AF_INET6
  const fd = check('socket', libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP))
  try {
    setOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'setsockopt(IP_BIND_ADDRESS_NO_PORT)')
    setOption(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1, 'setsockopt(TCP_DEFER_ACCEPT)')
    const length = encodeSockaddr(flow, 'client', address)
    address.fill(0, 2, 4)
    check('bind', libc.bind(fd, address, length))
    if (libc.connect(fd, address, encodeSockaddr(flow, 'service', address)) < 0) {
      const errno = errnoName(lastErrno())
      if (errno !== 'EINPROGRESS') throw new LinuxError('connect', errno)
    }
    return fd
  } catch (error) {
    libc.close(fd)
    throw error
  }
}
