import { NetlinkSocket } from '../netlink/socket.ts'
import { flowOf, socketCookie } from '../socket/socket.ts'
import { NETLINK_SOCK_DIAG } from './message.ts'
import { socketRequest } from './request.ts'

/** include/uapi/linux/sock_diag.h. */
const SOCK_DESTROY = 21

/**
 * Ends a connection whose socket other processes may have too, in one step: the client gets an RST, and whoever still has a descriptor
 * finds the connection aborted. A frozen socket never speaks before (tcp_abort in net/ipv4/tcp.c). The descriptor stays open.
 * Throws {@link LinuxError}: `EPERM` without CAP_NET_ADMIN, `EOPNOTSUPP` on a kernel without CONFIG_INET_DIAG_DESTROY, `ENOENT` when it has ended.
 */
export function destroyConnection(fd: number): void {
  using socket = new NetlinkSocket(NETLINK_SOCK_DIAG)
  socket.request('sock_diag destroy', SOCK_DESTROY, 0, socketRequest(flowOf(fd), socketCookie(fd)))
}
