import type { FlowKey } from '@xoffload/core'
import { NetlinkSocket, NLM_F_DUMP } from '../netlink/socket.ts'
import { AF_INET, AF_INET6 } from '../socket/constants.ts'
import { decodeDiagnosticFlow, NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY } from './message.ts'
import { statesRequest } from './request.ts'

// A mask of TCP states: bit n is state n of include/net/tcp_states.h. Every state but CLOSE and LISTEN.
const TCP_TIME_WAIT = 6
const TCP_CLOSE = 7
const TCP_LISTEN = 10
const TCP_MAX_STATES = 13
const STATES = ((1 << TCP_MAX_STATES) - 2) & ~((1 << TCP_CLOSE) | (1 << TCP_LISTEN))

/**
 * Every TCP connection that the network namespace of the calling thread has, listeners not: a sock_diag dump (sock_diag(7)). Those in
 * TIME_WAIT are left out with `timeWait: false`. The client is the remote end, the service the local one, also of connections that this host made itself. For
 * reconciliation when a {@link TcpDestroyListener} cannot say which flows have ended. Throws {@link LinuxError}.
 */
export function tcpFlows({ timeWait = true }: { readonly timeWait?: boolean } = {}): FlowKey[] {
  const states = timeWait ? STATES : STATES & ~(1 << TCP_TIME_WAIT)
  const socket = new NetlinkSocket(NETLINK_SOCK_DIAG)
  try {
    return [...dump(socket, AF_INET, states), ...dump(socket, AF_INET6, states)]
  } finally {
    socket.close()
  }
}

function dump(socket: NetlinkSocket, family: number, states: number): FlowKey[] {
  const request = statesRequest(family, states)
  const replies = socket.request('sock_diag dump', SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request)
  return replies.map(({ body }) => decodeDiagnosticFlow(body)).filter((flow) => flow !== undefined)
}
