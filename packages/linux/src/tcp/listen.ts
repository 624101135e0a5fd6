import { type Endpoint, FlowKey } from '@xoffload/core'
import { EAGAIN } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../socket/constants.ts'
import { setOption } from '../socket/options.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'

const BACKLOG = 4096

/**
 * A listening TCP socket that no event loop knows: for whoever wants connections as bare descriptors. The caller's to close.
 * Throws {@link LinuxError} (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`).
 */
export function listenTcp(endpoint: Endpoint): number {
  const flow = FlowKey.of(endpoint, endpoint)
  const address = new Uint8Array(SOCKADDR_LENGTH)
  const length = encodeSockaddr(flow, 'service', address)
  const family = flow.family === 4 ? AF_INET : AF_INET6
  const fd = check('socket', libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP))
  try {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt(SO_REUSEADDR)')
    check('bind', libc.bind(fd, address, length))
    check('listen', libc.listen(fd, BACKLOG))
    return fd
  } catch (error) {
    libc.close(fd)
    throw error
  }
}

/** The next connection of a listening socket, non-blocking, the caller's to close. Undefined when there is none. Throws {@link LinuxError}. */
export function acceptTcp(listener: number): number | undefined {
  const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)
  if (fd < 0 && lastErrno() === EAGAIN) return undefined
  return check('accept4', fd)
}
