import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import type { Socket, UnixSocketListener } from 'bun'
import { PreloadError } from './errors.ts'

/** Who connects is checked by the kernel's word (SO_PEERCRED), not by the file's mode: workers are of another user than their master. */
const MODE = 0o666

export interface ShimListenerHandlers {
  readonly open: (socket: Socket<unknown>) => void
  readonly data: (socket: Socket<unknown>, bytes: Uint8Array) => void
  readonly close: (socket: Socket<unknown>) => void
}

/**
 * Listens at a path in the file system. The socket file that a dead process left there is replaced.
 * Throws {@link PreloadError} (`busy`) when another process listens there, the file system's error otherwise.
 */
export async function listenForShims(
  path: string,
  handlers: ShimListenerHandlers,
): Promise<UnixSocketListener<unknown>> {
  await removeStale(path)
  const { open, data, close } = handlers
  const listener = Bun.listen({ unix: path, socket: { open, data, close, error: (socket) => close(socket) } })
  chmodSync(path, MODE)
  return listener
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  const taken = (why: string) => new PreloadError('busy', `${path}: ${why}`)
  if (!found.isSocket()) throw taken('the file there is no socket: remove it, or choose another path')
  try {
    const probe = await Bun.connect({ unix: path, socket: { data: () => {} } })
    probe.terminate()
  } catch {
    unlinkSync(path)
    return
  }
  throw taken('another process listens there: stop it, or choose another path')
}
