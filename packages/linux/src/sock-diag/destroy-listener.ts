import type { FlowKey } from '@xoffload/core'
import { EAGAIN, ENOBUFS } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { AF_NETLINK, MSG_DONTWAIT, SO_RCVBUFFORCE, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { closeFd } from '../socket/socket.ts'
import { decodeDiagnosticCookie, decodeDiagnosticFlow, diagnosticMessages, NETLINK_SOCK_DIAG } from './message.ts'

// enum sknetlink_groups (include/uapi/linux/sock_diag.h), as bits of nl_groups.
const SKNLGRP_INET_TCP_DESTROY = 1 << 0
const SKNLGRP_INET6_TCP_DESTROY = 1 << 2

const SOCKADDR_NL_LENGTH = 12
const DEFAULT_RECEIVE_BUFFER = 8 * 1024 * 1024
/** Events come one in a datagram, of some 100 to 300 bytes. */
const DATAGRAM_LENGTH = 8 * 1024
const MAXIMUM_DATAGRAMS_PER_POLL = 16_384

/** What a poll of a {@link TcpDestroyListener} found. */
export interface DestroyedFlows {
  /** The cookies of all destroyed sockets, also of those without a remote end ({@link socketCookie}). */
  readonly cookies: bigint[]
  /** The flows whose sockets were destroyed: the client is the remote end, the service the local one. */
  readonly flows: FlowKey[]
  /**
   * How many sockets were destroyed that had no remote end any more, so that their flows are not known: after `closeSilently`, but
   * also after a close with SO_LINGER and a time of zero, which sends RST. Listeners count as well. {@link tcpFlows} says what lives.
   */
  readonly disconnected: number
  /** Events were lost. {@link tcpFlows} says what lives. */
  readonly overflow: boolean
}

/**
 * Hears of every TCP socket of a network namespace that the kernel destroys (sock_diag(7), group SKNLGRP_INET_TCP_DESTROY): how one
 * learns that a connection which was given to another program has ended. A connection that goes to TIME_WAIT is reported when it
 * does, because its socket is gone then. The kernel reports shortly after the fact, not before close(2) returns.
 */
export class TcpDestroyListener {
  readonly #buffer = new Uint8Array(DATAGRAM_LENGTH)
  /** Readable when there is something to poll. Owned by this object. */
  readonly fd: number

  private constructor(fd: number) {
    this.fd = fd
  }

  /**
   * Listens in the network namespace of the calling thread. `receiveBuffer` is in bytes and holds some ten thousand events by default.
   * Throws {@link LinuxError} (`EPERM` without CAP_NET_ADMIN).
   */
  static open({ receiveBuffer = DEFAULT_RECEIVE_BUFFER }: { receiveBuffer?: number } = {}): TcpDestroyListener {
    const fd = check('socket(AF_NETLINK)', libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG))
    try {
      setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, 'setsockopt(SO_RCVBUFFORCE)', 'this needs CAP_NET_ADMIN')
      const address = new Uint8Array(SOCKADDR_NL_LENGTH)
      const view = new DataView(address.buffer)
      view.setUint16(0, AF_NETLINK, true)
      view.setUint32(8, SKNLGRP_INET_TCP_DESTROY | SKNLGRP_INET6_TCP_DESTROY, true)
      check('bind(AF_NETLINK)', libc.bind(fd, address, address.length), 'does the kernel have CONFIG_INET_DIAG?')
    } catch (error) {
      closeFd(fd)
      throw error
    }
    return new TcpDestroyListener(fd)
  }

  /** Takes what has happened since the last time, without waiting; when that is very much, a part of it. Throws {@link LinuxError}. */
  poll(): DestroyedFlows {
    const flows: FlowKey[] = []
    const cookies: bigint[] = []
    let disconnected = 0
    let overflow = false
    for (let count = 0; count < MAXIMUM_DATAGRAMS_PER_POLL; count++) {
      const length = Number(libc.recv(this.fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT))
      if (length < 0) {
        const errno = lastErrno()
        if (errno === EAGAIN) break
        if (errno !== ENOBUFS) check('recv(AF_NETLINK)', length)
        overflow = true
        continue
      }
      for (const message of diagnosticMessages(this.#buffer.subarray(0, length))) {
        const flow = decodeDiagnosticFlow(message)
        cookies.push(decodeDiagnosticCookie(message))
        if (flow === undefined) disconnected++
        else flows.push(flow)
      }
    }
    return { flows, cookies, disconnected, overflow }
  }

  close(): void {
    closeFd(this.fd)
  }
}
