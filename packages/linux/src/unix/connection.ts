import { EAGAIN, ECONNREFUSED, ENOENT, errnoName, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, SOL_SOCKET } from '../socket/constants.ts'
import { getOptionBytes } from '../socket/options.ts'
import { encodeUnixAddress } from './address.ts'
import { tryReceive, trySend, type UnixMessage } from './message.ts'
import { poll, type WaitOptions } from './wait.ts'

const DESCRIPTORS_LOST = 'not all descriptors of the message arrived: may this process open more files (RLIMIT_NOFILE)?'

/** Who is at the other end, as the kernel knows: of a listener, the process that listens (unix(7), SO_PEERCRED). */
export interface PeerCredentials {
  /** 0 when the process is in a PID namespace that this one cannot see into. */
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/**
 * A connection to another process of this machine that carries messages with open files (unix(7), SOCK_SEQPACKET, SCM_RIGHTS). A
 * message arrives whole, once and in order, or not at all.
 */
export class UnixConnection implements Disposable {
  readonly peer: PeerCredentials
  #fd: number

  /** Takes a connected socket of SOCK_SEQPACKET. Throws {@link LinuxError}, and then the socket stays the caller's. */
  constructor(fd: number) {
    this.peer = peerCredentials(fd)
    this.#fd = fd
  }

  /**
   * Sends one message of 1 byte to 64 KiB with at most 253 descriptors, and waits while the peer's queue is full. The descriptors
   * stay open here; the peer gets its own ones of the same open files.
   * Rejects with {@link LinuxError}: `EPIPE` or `ECONNRESET` when the peer has closed, `EMSGSIZE` or `EINVAL` for a size that is
   * not allowed, `EBADF` for a descriptor that is none, `ETIMEDOUT`.
   */
  async send(bytes: Uint8Array, fds: readonly number[] = [], wait?: WaitOptions): Promise<void> {
    await poll('sendmsg', () => trySend(this.#open('sendmsg'), bytes, fds) || undefined, wait)
  }

  /**
   * Waits for the next message. Its descriptors are the caller's to close. Undefined when the peer has closed.
   * Rejects with {@link LinuxError}: `EMSGSIZE` for a message that is too long or whose descriptors did not all arrive (all that
   * did are closed), `ECONNRESET` when the peer closed with messages unread, `ETIMEDOUT`.
   */
  async receive(wait?: WaitOptions): Promise<UnixMessage | undefined> {
    const probe = () => {
      const message = tryReceive(this.#open('recvmsg'))
      if (message === 'nothing') return undefined
      if (message?.descriptorsLost) throw new LinuxError('recvmsg', 'EMSGSIZE', DESCRIPTORS_LOST)
      return { message }
    }
    return (await poll('recvmsg', probe, wait)).message
  }

  /** Safe to call twice. What the peer sent and nobody received is discarded, descriptors and all. */
  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    check('close', libc.close(fd))
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #open(call: string): number {
    if (this.#fd < 0) throw new LinuxError(call, 'EBADF', 'the connection is closed')
    return this.#fd
  }
}

/**
 * Connects to a `UnixListener`. Throws {@link LinuxError}: `ENOENT` or `ECONNREFUSED` when nobody listens there, `EACCES` when this
 * user may not, `EAGAIN` when too many wait to be accepted.
 */
export function connectUnix(path: string): UnixConnection {
  const address = encodeUnixAddress(path)
  const fd = unixSocket()
  try {
    if (libc.connect(fd, address, address.length) < 0) throw connectError(path, lastErrno())
    return new UnixConnection(fd)
  } catch (error) {
    libc.close(fd)
    throw error
  }
}

/** A new socket: non-blocking, close-on-exec. */
export function unixSocket(): number {
  return check('socket(AF_UNIX)', libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
}

function connectError(path: string, errno: number): LinuxError {
  const advice: Record<number, string> = {
    [ENOENT]: 'nobody listens there',
    [ECONNREFUSED]: 'the process that listened there has ended',
    [EAGAIN]: 'too many wait to be accepted: try again later',
  }
  return new LinuxError(`connect(${path})`, errnoName(errno), advice[errno])
}

/**
 * The process at the other end of a Unix socket as it was when it connected (SO_PEERCRED, unix(7)). Throws {@link LinuxError}
 * (`ENOTSOCK`).
 */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = new Uint32Array(3)
  getOptionBytes(fd, SOL_SOCKET, SO_PEERCRED, credentials, 'getsockopt(SO_PEERCRED)')
  const [pid = 0, uid = 0, gid = 0] = credentials
  return { pid, uid, gid }
}
