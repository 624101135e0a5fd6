import type { FlowKey } from '@xoffload/core'
import { EAGAIN } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { TCP_NODELAY } from '../tcp/constants.ts'
import {
  IPPROTO_TCP,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SIOCINQ,
  SIOCOUTQ,
  SIOCOUTQNSD,
  SO_COOKIE,
  SO_LINGER,
  SOL_SOCKET,
} from './constants.ts'
import { getOptionBytes, ioctlNumber, setOption, setOptionBytes } from './options.ts'
import { decodeFlow, SOCKADDR_LENGTH } from './sockaddr.ts'

/** struct linger { l_onoff = 1, l_linger = 0 }. */
const LINGER_ZERO = new Uint32Array([1, 0])

const peer = new Uint8Array(SOCKADDR_LENGTH)
const local = new Uint8Array(SOCKADDR_LENGTH)
const length = new Uint32Array(1)
const cookie = new Uint8Array(8)

/**
 * The flow of an accepted TCP socket: its peer is the client, its own address the service. Works for IPv4, IPv6 and IPv4 on a
 * dual-stack socket. Throws {@link LinuxError} (`ENOTCONN` when the connection is no longer there).
 */
export function flowOf(fd: number): FlowKey {
  length[0] = SOCKADDR_LENGTH
  check('getpeername', libc.getpeername(fd, peer, length))
  length[0] = SOCKADDR_LENGTH
  check('getsockname', libc.getsockname(fd, local, length))
  return decodeFlow(peer, local)
}

/** Closes a file descriptor. On a TCP socket that is not in repair mode this sends FIN or RST. Throws {@link LinuxError}. */
export function closeFd(fd: number): void {
  check('close', libc.close(fd))
}

/** Closes a TCP socket at once and tells the peer with an RST (socket(7), SO_LINGER with a time of zero). Throws {@link LinuxError}. */
export function resetAndClose(fd: number): void {
  try {
    setOptionBytes(fd, SOL_SOCKET, SO_LINGER, LINGER_ZERO, 'setsockopt(SO_LINGER)')
  } finally {
    closeFd(fd)
  }
}

/**
 * A number that no other socket has as long as the machine runs (socket(7), SO_COOKIE): the kernel names it when it announces the
 * socket's destruction. Throws {@link LinuxError}.
 */
export function socketCookie(fd: number): bigint {
  getOptionBytes(fd, SOL_SOCKET, SO_COOKIE, cookie, 'getsockopt(SO_COOKIE)')
  return new DataView(cookie.buffer).getBigUint64(0, true)
}

/** Turns Nagle's algorithm off (tcp(7), TCP_NODELAY) or on again. Throws {@link LinuxError}. */
export function setTcpNoDelay(fd: number, noDelay = true): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, noDelay ? 1 : 0, 'setsockopt(TCP_NODELAY)')
}

/** The number of bytes that were received and not read yet (tcp(7), SIOCINQ). Throws {@link LinuxError}. */
export function unreadBytes(fd: number): number {
  return ioctlNumber(fd, SIOCINQ, 'ioctl(SIOCINQ)')
}

/** The number of bytes that were written and not acknowledged yet, sent or not (tcp(7), SIOCOUTQ). Throws {@link LinuxError}. */
export function unacknowledgedBytes(fd: number): number {
  return ioctlNumber(fd, SIOCOUTQ, 'ioctl(SIOCOUTQ)')
}

/** The number of bytes that were written and never sent (SIOCOUTQNSD, include/uapi/linux/sockios.h). Throws {@link LinuxError}. */
export function unsentBytes(fd: number): number {
  return ioctlNumber(fd, SIOCOUTQNSD, 'ioctl(SIOCOUTQNSD)')
}

/**
 * Writes as many bytes to a socket as it takes without waiting. Returns their number, 0 when there is no room now.
 * Never raises SIGPIPE. Throws {@link LinuxError} (`EPIPE`, `ECONNRESET`).
 */
export function write(fd: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return 0
  const written = Number(libc.send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL))
  if (written < 0 && lastErrno() === EAGAIN) return 0
  return check('send', written)
}

/**
 * Reads what a socket has without waiting. Returns the number of bytes, 0 at the end of the stream, `undefined` when there is
 * nothing to read now. Throws {@link LinuxError} (`ECONNRESET`).
 */
export function read(fd: number, into: Uint8Array): number | undefined {
  if (into.length === 0) return undefined
  const count = Number(libc.recv(fd, into, into.length, MSG_DONTWAIT))
  if (count < 0 && lastErrno() === EAGAIN) return undefined
  return check('recv', count)
}
