import { errnoName, LinuxError } from '../../errno.ts'
import { check, lastErrno, libc } from '../../ffi/libc.ts'
import {
  AF_NETLINK,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from '../../socket/constants.ts'
import { setOption } from '../../socket/options.ts'
import { closeFd } from '../../socket/socket.ts'

const NETLINK_ROUTE = 0
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
/** A datagram of a dump has 32 KiB at most, of an acknowledgement far less (net/netlink/af_netlink.c). */
const DATAGRAM_LENGTH = 64 * 1024
const DEFAULT_RECEIVE_BUFFER = 4 * 1024 * 1024

/**
 * A netlink socket for many requests at a time: one datagram holds many messages, and the kernel carries them out in their order,
 * each whether or not the one before it was refused, before `send` returns (`netlink_rcv_skb`, net/netlink/af_netlink.c). So `send`
 * takes as long as the NIC takes for all of them: call it on a thread that has nothing else to do. The answers can be received
 * then.
 *
 * It belongs to the network namespace of the thread that opened it, whichever thread uses it.
 */
export class TcSocket {
  readonly #buffer = new Uint8Array(DATAGRAM_LENGTH)
  readonly fd: number

  private constructor(fd: number) {
    this.fd = fd
  }

  /** `receiveBuffer` in bytes, default 4 MiB. Throws {@link LinuxError} (`EPERM` without CAP_NET_ADMIN). */
  static open({ receiveBuffer = DEFAULT_RECEIVE_BUFFER }: { readonly receiveBuffer?: number } = {}): TcSocket {
    const fd = check('socket(NETLINK_ROUTE)', libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE))
    try {
      const advice = 'it needs root, or the capability CAP_NET_ADMIN'
      setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, 'setsockopt(SO_RCVBUFFORCE)', advice)
      setOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1, 'setsockopt(NETLINK_CAP_ACK)')
      setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1, 'setsockopt(NETLINK_EXT_ACK)')
    } catch (error) {
      closeFd(fd)
      throw error
    }
    return new TcSocket(fd)
  }

  /** The socket that another thread of this process has opened, and closes. */
  static of(fd: number): TcSocket {
    return new TcSocket(fd)
  }

  /** Hands messages to the kernel and waits until all are carried out. Throws {@link LinuxError}: then none was. */
  send(messages: Uint8Array): void {
    check('send(NETLINK_ROUTE)', Number(libc.send(this.fd, messages, messages.length, 0)))
  }

  /**
   * The next datagram, undefined when there is none, `overflow` when the kernel has thrown answers away since the receive buffer
   * was full (ENOBUFS): what they were about is done all the same. Throws {@link LinuxError}.
   */
  receive(): Uint8Array | 'overflow' | undefined {
    for (;;) {
      const length = Number(libc.recv(this.fd, this.#buffer, DATAGRAM_LENGTH, MSG_DONTWAIT | MSG_TRUNC))
      if (length > DATAGRAM_LENGTH) throw new LinuxError('recv(NETLINK_ROUTE)', 'EMSGSIZE', `${length} bytes`)
      if (length >= 0) return this.#buffer.slice(0, length)
      const errno = errnoName(lastErrno())
      if (errno === 'EAGAIN') return undefined
      if (errno === 'ENOBUFS') return 'overflow'
      if (errno !== 'EINTR') throw new LinuxError('recv(NETLINK_ROUTE)', errno)
    }
  }

  close(): void {
    closeFd(this.fd)
  }
}
