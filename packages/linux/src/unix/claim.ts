import { errnoName, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from '../socket/constants.ts'
import { closeFd } from '../socket/socket.ts'

/** `sizeof(sun_path)` without the NUL in front of an abstract name. */
const NAME_LENGTH = 107

/** A name that nobody else has as long as this is there. */
export interface Claim extends Disposable {
  readonly name: string
}

/**
 * Claims a name in the network namespace of the calling thread: an abstract Unix socket address (unix(7)), which the kernel gives
 * back when the process ends, however it ends. Undefined when it is claimed already, by this process or another one. Throws {@link
 * LinuxError}.
 */
export function claimName(name: string): Claim | undefined {
  const encoded = new TextEncoder().encode(name)
  if (encoded.length === 0 || encoded.length > NAME_LENGTH) throw new LinuxError('bind(AF_UNIX)', 'EINVAL', name)
  const address = new Uint8Array(3 + encoded.length)
  address[0] = AF_UNIX
  address.set(encoded, 3)
  let fd = check('socket(AF_UNIX)', libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))
  if (libc.bind(fd, address, address.length) < 0) {
    const errno = errnoName(lastErrno())
    closeFd(fd)
    if (errno === 'EADDRINUSE') return undefined
    throw new LinuxError(`bind(AF_UNIX, ${name})`, errno)
  }
  return {
    name,
    [Symbol.dispose]() {
      if (fd < 0) return
      closeFd(fd)
      fd = -1
    },
  }
}
