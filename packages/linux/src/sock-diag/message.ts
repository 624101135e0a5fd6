import { CodecError, FlowKey } from '@xoffload/core'
import { align, viewOf } from '../netlink/message.ts'
import { AF_INET, AF_INET6 } from '../socket/constants.ts'

/** include/uapi/linux/{netlink,sock_diag}.h. */
export const NETLINK_SOCK_DIAG = 4
export const SOCK_DIAG_BY_FAMILY = 20

const NLMSG_HEADER = 16
/** `sizeof(struct inet_diag_msg)` (include/uapi/linux/inet_diag.h). */
const INET_DIAG_MSG = 72

/**
 * The `struct inet_diag_msg`s of a datagram, as views into it. Throws {@link CodecError} for a length that does not fit.
 */
export function diagnosticMessages(datagram: Uint8Array): Uint8Array[] {
  const view = viewOf(datagram)
  const bodies: Uint8Array[] = []
  for (let offset = 0; offset < datagram.length; ) {
    const room = datagram.length - offset
    const length = room < NLMSG_HEADER ? 0 : view.getUint32(offset, true)
    if (length < NLMSG_HEADER || length > room) {
      throw new CodecError(`a netlink message of ${length} bytes where a datagram has ${room} left`)
    }
    if (view.getUint16(offset + 4, true) === SOCK_DIAG_BY_FAMILY) {
      bodies.push(datagram.subarray(offset + NLMSG_HEADER, offset + length))
    }
    offset += align(length)
  }
  return bodies
}

// Where the fields of `struct inet_diag_sockid` lie in `struct inet_diag_msg`; "source" is the local end.
const LOCAL_PORT = 4
const REMOTE_PORT = 6
const LOCAL_ADDRESS = 8
const REMOTE_ADDRESS = 24
const COOKIE = 44

const key = new Uint8Array(FlowKey.byteLength)

/** The cookie of the socket that a `struct inet_diag_msg` is about: the number that SO_COOKIE gives. The message must have its length. */
export function decodeDiagnosticCookie(message: Uint8Array): bigint {
  return viewOf(message).getBigUint64(COOKIE, true)
}

/**
 * The flow of a `struct inet_diag_msg`: the client is the remote end, the service the local one. `undefined` when it has no remote
 * end: a listener, or a socket that was disconnected before it was destroyed. Throws {@link CodecError} for a malformed message.
 */
export function decodeDiagnosticFlow(message: Uint8Array): FlowKey | undefined {
  if (message.length < INET_DIAG_MSG) {
    throw new CodecError(`a sock_diag message of ${message.length} bytes, at least ${INET_DIAG_MSG} are expected`)
  }
  const view = viewOf(message)
  if (view.getUint16(LOCAL_PORT) === 0 || view.getUint16(REMOTE_PORT) === 0) return undefined
  const family = view.getUint8(0)
  if (family === AF_INET) {
    key.fill(0)
    key.fill(0xff, 10, 12)
    key.fill(0xff, 26, 28)
    key.set(message.subarray(REMOTE_ADDRESS, REMOTE_ADDRESS + 4), 12)
    key.set(message.subarray(LOCAL_ADDRESS, LOCAL_ADDRESS + 4), 28)
  } else if (family === AF_INET6) {
    // A dual-stack socket with an IPv4 peer has IPv4-mapped addresses here: the form that a flow key has for IPv4.
    key.set(message.subarray(REMOTE_ADDRESS, REMOTE_ADDRESS + 16), 0)
    key.set(message.subarray(LOCAL_ADDRESS, LOCAL_ADDRESS + 16), 16)
  } else {
    throw new CodecError(`a sock_diag message of family ${family}: AF_INET (2) or AF_INET6 (10) is expected`)
  }
  key.set(message.subarray(REMOTE_PORT, REMOTE_PORT + 2), 32)
  key.set(message.subarray(LOCAL_PORT, LOCAL_PORT + 2), 34)
  return FlowKey.from(key)
}
