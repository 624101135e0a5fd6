import { chmod, lstat, mkdir, mkdtemp, rename, rm, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { reason } from '../config/read.ts'
import { ApiError } from './error.ts'

/** How long somebody who lives behind a socket may take to answer a connection, milliseconds. */
const PROBE_TIMEOUT = 2000

/** A socket file of this process. */
export interface SocketFile {
  /** Removes the file, unless it is another process's by now. */
  remove(): Promise<void>
}

/** What listens on a socket, and can be stopped. */
interface Listener {
  stop(closeActiveConnections: boolean): Promise<void>
}

/**
 * Puts a listening socket at `path`, for its owner only. `listen` listens at another path that it is given, in a folder that nobody else can
 * enter; from there the socket moves to `path` in one step, with its final mode. So there is no moment at which others can connect, and
 * what was at `path` before is replaced without a gap.
 *
 * It is replaced when nobody listens there any more, or with `takeOver`. Throws {@link ApiError}.
 */
export async function listenAt<L extends Listener>(
  path: string,
  listen: (path: string) => L,
  takeOver: boolean,
): Promise<{ listener: L; file: SocketFile }> {
  let listener: L | undefined
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await checkFree(path, takeOver)
    // The folder's name adds 8 bytes: see the limit in the configuration.
    const folder = await mkdtemp(join(dirname(path), '.'))
    try {
      const made = join(folder, 's')
      listener = listen(made)
      await chmod(made, 0o600)
      const { dev, ino } = await lstat(made)
      await rename(made, path)
      return { listener, file: { remove: () => removeOwn(path, dev, ino) } }
    } finally {
      await rm(folder, { recursive: true })
    }
  } catch (cause) {
    await listener?.stop(true)
    if (cause instanceof ApiError) throw cause
    throw new ApiError(`the control API cannot listen on unix:${path}: ${reason(cause)}`, { cause })
  }
}

async function checkFree(path: string, takeOver: boolean): Promise<void> {
  const present = await lstat(path).catch(ignoreMissing)
  if (present === undefined) return
  if (!present.isSocket()) {
    throw new ApiError(
      `the control API cannot listen on unix:${path}: there is a file with that name that is no socket`,
    )
  }
  if (!takeOver && (await isAnswered(path))) {
    throw new ApiError(
      `the control API cannot listen on unix:${path}: another process does; stop it, or give this gateway another "listen" in [api]`,
    )
  }
}

/** Whether a process listens on the socket. What says neither yes nor no in time counts as yes. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    const timer = setTimeout(() => settle(() => resolve(true)), PROBE_TIMEOUT)
    const settle = (tell: () => void) => {
      clearTimeout(timer)
      socket.destroy()
      tell()
    }
    socket.on('connect', () => settle(() => resolve(true)))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // unix(7), connect(2): ECONNREFUSED is what a socket without a listener says.
      const isGone = error.code === 'ECONNREFUSED' || error.code === 'ENOENT'
      settle(() => (isGone ? resolve(false) : reject(error)))
    })
  })
}

async function removeOwn(path: string, dev: number, ino: number): Promise<void> {
  const present = await lstat(path).catch(ignoreMissing)
  if (present?.dev === dev && present.ino === ino) await unlink(path)
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
