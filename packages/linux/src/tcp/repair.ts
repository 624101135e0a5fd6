import { LinuxError } from '../errno.ts'
import { IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET } from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { closeFd } from '../socket/socket.ts'
import { TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, TCP_REPAIR_ON } from './constants.ts'
import { UnsupportedConnectionError } from './errors.ts'

/** What to do when the kernel refuses TCP_REPAIR with EPERM. */
const REPAIR_ADVICE =
  'TCP_REPAIR needs CAP_NET_ADMIN in the user namespace of the network namespace, and no listening socket'

/**
 * Puts a TCP socket into repair mode (tcp(7), TCP_REPAIR): its state can be read and written, and closing it is silent.
 * The kernel still processes and answers packets: lock the flow first.
 * Throws {@link LinuxError} (`EPERM` without CAP_NET_ADMIN) or {@link UnsupportedConnectionError} (MPTCP).
 */
export function freeze(fd: number): void {
  try {
    setOption(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, 'setsockopt(TCP_REPAIR)', REPAIR_ADVICE)
  } catch (error) {
    // Multipath TCP and other protocols of SOCK_STREAM do not know the option.
    if (error instanceof LinuxError && (error.errno === 'EOPNOTSUPP' || error.errno === 'ENOPROTOOPT')) {
      throw new UnsupportedConnectionError(
        'protocol',
        'only plain TCP connections can be moved, this socket has no TCP_REPAIR',
      )
    }
    throw error
  }
}

/**
 * Takes a socket out of repair mode without a window probe: nothing is sent, and the connection goes on.
 * Throws {@link LinuxError}.
 */
export function thaw(fd: number): void {
  setOption(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, 'setsockopt(TCP_REPAIR)', REPAIR_ADVICE)
  // Leaving repair mode clears SO_REUSEADDR, which an accepted socket inherits from its listener. Without it no new listener
  // could bind to the service port as long as this connection lives.
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt(SO_REUSEADDR)')
}

/**
 * Closes a TCP socket without FIN and without RST: the peer notices nothing. The flow must stay locked or steered, because a packet
 * that arrives now meets no socket and draws an RST. When repair mode is refused the socket stays open and a {@link LinuxError} is
 * thrown.
 */
export function closeSilently(fd: number): void {
  freeze(fd)
  closeFd(fd)
}
