import { EAGAIN, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { NativeMemory } from '../ffi/memory.ts'
import {
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SCM_RIGHTS,
  SOL_SOCKET,
} from '../socket/constants.ts'

/** The most descriptors that one message can carry: SCM_MAX_FD of include/net/scm.h. */
export const MAXIMUM_DESCRIPTORS = 253
/** The most bytes that one message may have. */
export const MAXIMUM_MESSAGE_LENGTH = 64 * 1024

/** What one message brought. */
export interface UnixMessage {
  readonly bytes: Uint8Array
  /** Open files of this process now, close-on-exec: whoever takes the message closes them. */
  readonly fds: readonly number[]
}

// struct msghdr, struct iovec and struct cmsghdr of a 64-bit machine (recvmsg(2), cmsg(3)).
const MSGHDR = { length: 56, iov: 16, iovLength: 24, control: 32, controlLength: 40, flags: 48 } as const
const IOVEC_LENGTH = 16
const CMSG_HEADER = 16
const CONTROL_LENGTH = CMSG_HEADER + alignCmsg(4 * MAXIMUM_DESCRIPTORS)

/** A `struct msghdr` with room for the largest message. One for each direction is enough: no call below yields. */
class MessageHeader {
  readonly data = new NativeMemory(MAXIMUM_MESSAGE_LENGTH)
  readonly control = new NativeMemory(CONTROL_LENGTH)
  readonly #iovec = new NativeMemory(IOVEC_LENGTH)
  readonly #header = new NativeMemory(MSGHDR.length)

  constructor() {
    this.#iovec.setPointer(0, this.data)
    this.#header.setPointer(MSGHDR.iov, this.#iovec)
    this.#header.view.setBigUint64(MSGHDR.iovLength, 1n, true)
    this.#header.setPointer(MSGHDR.control, this.control)
  }

  get controlLength(): number {
    return Number(this.#header.view.getBigUint64(MSGHDR.controlLength, true))
  }

  get flags(): number {
    return this.#header.view.getInt32(MSGHDR.flags, true)
  }

  /** The structure, for a message of these lengths. */
  prepare(dataLength: number, controlLength: number): Uint8Array {
    this.#iovec.view.setBigUint64(8, BigInt(dataLength), true)
    this.#header.view.setBigUint64(MSGHDR.controlLength, BigInt(controlLength), true)
    return this.#header.bytes
  }
}

// Made on first use: most programs pass no descriptors.
let outgoing: MessageHeader | undefined
let incoming: MessageHeader | undefined

/** Sends one message. False when the peer's queue is full now. Throws {@link LinuxError}. */
export function trySend(fd: number, bytes: Uint8Array, fds: readonly number[]): boolean {
  refuseSizes(bytes, fds)
  outgoing ??= new MessageHeader()
  outgoing.data.bytes.set(bytes)
  const header = outgoing.prepare(bytes.length, encodeRights(outgoing.control.view, fds))
  const sent = Number(libc.sendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL))
  if (sent < 0 && lastErrno() === EAGAIN) return false
  check('sendmsg', sent)
  return true
}

/**
 * The next message, `'nothing'` when there is none now, `undefined` when the peer has closed. A message that is too long, or whose
 * descriptors did not all arrive, is refused with a {@link LinuxError} `EMSGSIZE`, and what did arrive is closed.
 */
export function tryReceive(fd: number): UnixMessage | 'nothing' | undefined {
  incoming ??= new MessageHeader()
  const header = incoming.prepare(MAXIMUM_MESSAGE_LENGTH, CONTROL_LENGTH)
  const received = Number(libc.recvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
  if (received < 0 && lastErrno() === EAGAIN) return 'nothing'
  check('recvmsg', received)
  const fds = decodeRights(incoming.control.view, incoming.controlLength)
  const truncated = incoming.flags & (MSG_TRUNC | MSG_CTRUNC)
  if (received > 0 && truncated === 0) return { bytes: incoming.data.bytes.slice(0, received), fds }
  for (const descriptor of fds) libc.close(descriptor)
  // A message without a byte is none: trySend makes no such.
  if (truncated === 0) return undefined
  const advice =
    (truncated & MSG_TRUNC) !== 0
      ? `the message has more than ${MAXIMUM_MESSAGE_LENGTH} bytes`
      : 'not all descriptors of the message arrived: may this process open more files (RLIMIT_NOFILE)?'
  throw new LinuxError('recvmsg', 'EMSGSIZE', advice)
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
