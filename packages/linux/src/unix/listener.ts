import { fchmodSync, lstatSync, type Stats, unlinkSync } from 'node:fs'
import { EADDRINUSE, EAGAIN, ECONNREFUSED, ENOENT, errnoName, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK } from '../socket/constants.ts'
import { encodeUnixAddress } from './address.ts'
import { UnixConnection, unixSocket } from './connection.ts'
import { pauseFor } from './wait.ts'

const BACKLOG = 16
/** A listener waits for as long as its program runs, and its peers are in no hurry. */
const ACCEPT_INTERVAL_MILLISECONDS = 50
/** Only this user (and root) may connect. */
const MODE = 0o600

/** Waits for other processes of this user at a path in the file system (unix(7), SOCK_SEQPACKET). */
export class UnixListener implements Disposable {
  readonly path: string
  readonly #file: Pick<Stats, 'dev' | 'ino'>
  #fd: number

  private constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
    this.#file = lstatSync(path)
  }

  /**
   * Makes the socket file with mode 0600. One that a dead process left there is replaced.
   * Throws {@link LinuxError}: `EADDRINUSE` when another process listens there or the file is no socket, `EACCES`, `ENOENT` (the
   * folder), `EINVAL` for a path that is longer than 107 bytes.
   */
  static open(path: string): UnixListener {
    const address = encodeUnixAddress(path)
    const fd = unixSocket()
    try {
      // The mode of the socket is that of the file from its first moment on.
      fchmodSync(fd, MODE)
      bind(fd, path, address)
      check('listen', libc.listen(fd, BACKLOG))
      return new UnixListener(path, fd)
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /**
   * Waits for the next process to connect; looks every 50 milliseconds. Undefined when the listener is closed. Rejects with the
   * signal's reason, or with {@link LinuxError} (`EMFILE`).
   */
  async accept({ signal }: { readonly signal?: AbortSignal } = {}): Promise<UnixConnection | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#fd < 0) return undefined
      const connection = tryAccept(this.#fd)
      if (connection !== undefined) return connection
      await pauseFor(ACCEPT_INTERVAL_MILLISECONDS, signal)
    }
  }

  /** Closes, and removes the socket file unless another listener has put its own there. Safe to call twice. */
  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    try {
      const found = lstatSync(this.path, { throwIfNoEntry: false })
      if (found !== undefined && found.dev === this.#file.dev && found.ino === this.#file.ino) unlinkSync(this.path)
    } finally {
      check('close', libc.close(fd))
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function tryAccept(listener: number): UnixConnection | undefined {
  const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)
  if (fd < 0 && lastErrno() === EAGAIN) return undefined
  check('accept4', fd)
  try {
    return new UnixConnection(fd)
  } catch (error) {
    libc.close(fd)
    throw error
  }
}

function bind(fd: number, path: string, address: Uint8Array): void {
  if (libc.bind(fd, address, address.length) === 0) return
  const errno = lastErrno()
  if (errno !== EADDRINUSE) throw new LinuxError(`bind(${path})`, errnoName(errno))
  removeStale(path, address)
  check(`bind(${path})`, libc.bind(fd, address, address.length), 'another process took the path at the same moment')
}

/** Removes a socket file that nobody listens on. */
function removeStale(path: string, address: Uint8Array): void {
  const taken = (advice: string) => new LinuxError(`bind(${path})`, 'EADDRINUSE', advice)
  if (!(lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? true))
    throw taken('the file there is no socket: remove it, or choose another path')
  const probe = unixSocket()
  const errno = libc.connect(probe, address, address.length) < 0 ? lastErrno() : 0
  libc.close(probe)
  // Somebody else has removed it meanwhile.
  if (errno === ENOENT) return
  if (errno !== ECONNREFUSED) throw taken('another process listens there: stop it, or choose another path')
  unlinkSync(path)
}
