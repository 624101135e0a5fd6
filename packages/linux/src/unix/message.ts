import { EAGAIN, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import {
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SCM_RIGHTS,
  SOL_SOCKET,
} from '../socket/constants.ts'
import { CMSG_HEADER, MessageHeader } from '../socket/message-header.ts'

/** The most descriptors that one message can carry: SCM_MAX_FD of include/net/scm.h. */
export const MAXIMUM_DESCRIPTORS = 253
/** The most bytes that one message may have. */
export const MAXIMUM_MESSAGE_LENGTH = 64 * 1024

/** What one message brought. */
export interface UnixMessage {
  readonly bytes: Uint8Array
  /** Open files of this process now, close-on-exec: whoever takes the message closes them. */
  readonly fds: readonly number[]
  /**
   * Not all descriptors of the message arrived: this process may not open more files (RLIMIT_NOFILE). Those that are missing are closed
   * (unix(7), MSG_CTRUNC).
   */
  readonly descriptorsLost?: true
}

const CONTROL_LENGTH = CMSG_HEADER + alignCmsg(4 * MAXIMUM_DESCRIPTORS)

// One for each direction is enough: no call below yields. Made on first use: most programs pass no descriptors.
let outgoing: MessageHeader | undefined
let incoming: MessageHeader | undefined

/** Sends one message. False when the peer's queue is full now. Throws {@link LinuxError}. */
export function trySend(fd: number, bytes: Uint8Array, fds: readonly number[]): boolean {
  refuseSizes(bytes, fds)
  outgoing ??= new MessageHeader(MAXIMUM_MESSAGE_LENGTH, CONTROL_LENGTH)
  outgoing.data.bytes.set(bytes)
  const header = outgoing.prepare(bytes.length, encodeRights(outgoing.control.view, fds))
  const sent = Number(libc.sendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL))
  if (sent < 0 && lastErrno() === EAGAIN) return false
  check('sendmsg', sent)
  return true
}

/**
 * The next message, `'nothing'` when there is none now, `undefined` when the peer has closed. A message that is too long is refused with a
 * {@link LinuxError} `EMSGSIZE`, and what came with it is closed. Of a message whose descriptors did not all arrive the bytes are given, so that its
 * sender can be told, and `fds` is empty: which ones are missing is not known.
 */
export function tryReceive(fd: number): UnixMessage | 'nothing' | undefined {
  incoming ??= new MessageHeader(MAXIMUM_MESSAGE_LENGTH, CONTROL_LENGTH)
  const header = incoming.prepare(MAXIMUM_MESSAGE_LENGTH, CONTROL_LENGTH)
  const received = Number(libc.recvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
  if (received < 0 && lastErrno() === EAGAIN) return 'nothing'
  check('recvmsg', received)
  const fds = decodeRights(incoming.control.view, incoming.controlLength)
  const [tooLong, descriptorsLost] = [MSG_TRUNC, MSG_CTRUNC].map((flag) => ((incoming?.flags ?? 0) & flag) !== 0)
  if (received > 0 && !tooLong && !descriptorsLost) return { bytes: incoming.data.bytes.slice(0, received), fds }
  for (const descriptor of fds) libc.close(descriptor)
  if (tooLong) throw new LinuxError('recvmsg', 'EMSGSIZE', `the message has more than ${MAXIMUM_MESSAGE_LENGTH} bytes`)
  // A message without a byte is none: trySend makes no such.
  if (received === 0) return undefined
  return { bytes: incoming.data.bytes.slice(0, received), fds: [], descriptorsLost: true }
}

function refuseSizes(bytes: Uint8Array, fds: readonly number[]): void {
  // An empty message could not be told from the end of the connection.
  if (bytes.length === 0) throw new LinuxError('sendmsg', 'EINVAL', 'a message has one byte at least')
  if (bytes.length > MAXIMUM_MESSAGE_LENGTH) {
    const advice = `the message has ${bytes.length} bytes, at most ${MAXIMUM_MESSAGE_LENGTH} are allowed: send several`
    throw new LinuxError('sendmsg', 'EMSGSIZE', advice)
  }
  if (fds.length > MAXIMUM_DESCRIPTORS) {
    const advice = `the message has ${fds.length} descriptors, at most ${MAXIMUM_DESCRIPTORS} are allowed: send several`
    throw new LinuxError('sendmsg', 'EINVAL', advice)
  }
}

/** Writes one SCM_RIGHTS control message (unix(7)). Returns the length of the control data. */
function encodeRights(control: DataView, fds: readonly number[]): number {
  if (fds.length === 0) return 0
  const length = CMSG_HEADER + 4 * fds.length
  control.setBigUint64(0, BigInt(length), true)
  control.setInt32(8, SOL_SOCKET, true)
  control.setInt32(12, SCM_RIGHTS, true)
  for (const [index, fd] of fds.entries()) control.setInt32(CMSG_HEADER + 4 * index, fd, true)
  return alignCmsg(length)
}

function decodeRights(control: DataView, length: number): number[] {
  const fds: number[] = []
  for (let offset = 0; offset + CMSG_HEADER <= length; ) {
    const end = offset + Number(control.getBigUint64(offset, true))
    if (control.getInt32(offset + 8, true) === SOL_SOCKET && control.getInt32(offset + 12, true) === SCM_RIGHTS)
      for (let at = offset + CMSG_HEADER; at + 4 <= end; at += 4) fds.push(control.getInt32(at, true))
    offset = alignCmsg(end)
  }
  return fds
}

function alignCmsg(length: number): number {
  return (length + 7) & ~7
}
