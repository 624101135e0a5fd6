import { check, libc } from '../ffi/libc.ts'
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET } from '../socket/constants.ts'

/**
 * Two connected sockets for messages with descriptors (unix(7), SOCK_SEQPACKET): non-blocking, close-on-exec, the caller's to close.
 * Throws {@link LinuxError} (`EMFILE`).
 */
export function unixPair(): readonly [number, number] {
  const pair = new Int32Array(2)
  check('socketpair', libc.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
  const [first = -1, second = -1] = pair
  return [first, second]
}
