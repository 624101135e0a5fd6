import { LinuxError } from '../errno.ts'
import { check, libc } from '../ffi/libc.ts'
import { AF_NETLINK, MSG_TRUNC, SO_RCVTIMEO, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from '../socket/constants.ts'
import { align, viewOf } from './message.ts'
import { NETLINK_HEADER, type NetlinkReply, netlinkMessages, throwUnlessAcknowledged } from './reply.ts'

/** Flags of a request (include/uapi/linux/netlink.h). */
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_DUMP = 0x300

const NLM_F_REQUEST = 1
const NLM_F_ACK = 4
const NLM_F_DUMP_INTR = 0x10

const NLMSG_ERROR = 2
const NLMSG_DONE = 3

const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11

const RECEIVE_LENGTH = 256 * 1024
const ANSWER_SECONDS = 5
const DUMP_ATTEMPTS = 4

/**
 * A netlink socket for requests and their answers. The kernel answers while the request is being sent, so nothing here waits; a
 * receive timeout bounds it all the same. It belongs to the network namespace that it was opened in.
 */
export class NetlinkSocket {
  readonly #fd: number
  readonly #buffer = new Uint8Array(RECEIVE_LENGTH)
  #sequence = 0
  #closed = false

  /** `protocol`: `NETLINK_ROUTE` is 0. Throws {@link LinuxError}. */
  constructor(protocol: number) {
    this.#fd = check(`socket(AF_NETLINK, ${protocol})`, libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol))
    const timeout = new BigInt64Array([BigInt(ANSWER_SECONDS), 0n])
    check('setsockopt(SO_RCVTIMEO)', libc.setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16))
    const one = new Int32Array([1])
    // Both are refinements of error answers; a kernel without them still answers errno.
    libc.setsockopt(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, one, 4)
    libc.setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, one, 4)
  }

  /**
   * Sends one request and returns the messages of the answer. Throws {@link LinuxError} with `call`, errno and the kernel's own
   * explanation (extended ack) when it is refused.
   */
  request(call: string, type: number, flags: number, body: Uint8Array): NetlinkReply[] {
    const dump = (flags & NLM_F_DUMP) === NLM_F_DUMP && (flags & NLM_F_CREATE) === 0
    for (let attempt = 1; ; attempt++) {
      const replies = this.#exchange(call, type, flags | NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK), body)
      if (replies !== undefined) return replies
      if (attempt === DUMP_ATTEMPTS)
        throw new LinuxError(call, 'EINTR', 'the table changes while it is being read: try again')
    }
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    libc.close(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Undefined when a dump was not consistent. */
  #exchange(call: string, type: number, flags: number, body: Uint8Array): NetlinkReply[] | undefined {
    if (this.#closed) throw new LinuxError(call, 'EBADF', 'the netlink socket is closed')
    const sequence = this.#send(call, type, flags, body)
    const replies: NetlinkReply[] = []
    let consistent = true
    for (;;) {
      const received = Number(check(call, Number(libc.recv(this.#fd, this.#buffer, RECEIVE_LENGTH, MSG_TRUNC))))
      if (received > RECEIVE_LENGTH)
        throw new LinuxError(call, 'EMSGSIZE', 'the answer is larger than any that is known')
      // Views of the replies must survive the next receive.
      const datagram = this.#buffer.slice(0, received)
      for (const message of netlinkMessages(datagram)) {
        if (message.sequence !== sequence) continue
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) consistent = false
        if (message.type === NLMSG_DONE) return consistent ? replies : undefined
        if (message.type === NLMSG_ERROR) {
          throwUnlessAcknowledged(call, message.flags, message.body)
          return replies
        }
        replies.push({ type: message.type, body: message.body })
      }
    }
  }

  #send(call: string, type: number, flags: number, body: Uint8Array): number {
    this.#sequence = (this.#sequence + 1) >>> 0
    const message = new Uint8Array(NETLINK_HEADER + align(body.length))
    const view = viewOf(message)
    view.setUint32(0, NETLINK_HEADER + body.length, true)
    view.setUint16(4, type, true)
    view.setUint16(6, flags, true)
    view.setUint32(8, this.#sequence, true)
    message.set(body, NETLINK_HEADER)
    check(call, Number(libc.send(this.#fd, message, message.length, 0)))
    return this.#sequence
  }
}
