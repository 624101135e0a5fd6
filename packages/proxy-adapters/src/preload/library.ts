import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PreloadError } from './errors.ts'

/** The environment variable that tells the shim where the agent's socket is. Without it, the shim does nothing. */
export const SOCKET_VARIABLE = 'XOFFLOAD_PRELOAD'
/** The one that names the agent's user, a number. Without it: root, or the user who started the program. */
export const USER_VARIABLE = 'XOFFLOAD_PRELOAD_USER'

/**
 * The shared object to be named in a server program's `LD_PRELOAD`, for this processor. It needs glibc 2.17 or later.
 * Throws {@link PreloadError} (`not-loaded`) when there is none.
 */
export function preloadLibrary(): string {
  const path = fileURLToPath(new URL(`../../preload/${process.arch}/xoffload-preload.so`, import.meta.url))
  if (existsSync(path)) return path
  throw new PreloadError('not-loaded', `no shim is built for ${process.arch}: run preload/build.sh on such a machine`)
}

export interface PreloadEnvironmentOptions {
  /** The agent's user (uid), whom the shim trusts besides root. Default: this process's. */
  readonly user?: number
  /** The environment that the program would have otherwise: another `LD_PRELOAD` in it stays. Default: this process's. */
  readonly environment?: NodeJS.ProcessEnv
}

/** What is to be added to the environment of a server program, so that it takes connections from the agent with this socket. */
export function preloadEnvironment(socket: string, options: PreloadEnvironmentOptions = {}): Record<string, string> {
  const { user = process.geteuid?.() ?? 0, environment = process.env } = options
  const others = environment.LD_PRELOAD
  return {
    LD_PRELOAD: others === undefined || others === '' ? preloadLibrary() : `${preloadLibrary()}:${others}`,
    [SOCKET_VARIABLE]: socket,
    [USER_VARIABLE]: `${user}`,
  }
}
