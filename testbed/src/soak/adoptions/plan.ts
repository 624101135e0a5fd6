import type { Random } from '@xoffload/core/simulation'
import { rampBytes } from '../../ramp/ramp.ts'

/** What nginx serves, by path: the beginning of the ramp. */
export const files: Readonly<Record<string, Uint8Array>> = {
  '/1k': rampBytes(0, 1024),
  '/20k': rampBytes(0, 20_000),
  '/200k': rampBytes(0, 200_000),
}

/** nginx ends a connection shortly after a request for this, as it does with every idle one after `keepalive_timeout`. */
export const BRIEF = '/brief'
/** Milliseconds. */
export const BRIEF_TIMEOUT = 100
/** How long {@link BRIEF} is: that of `/1k`. */
export const BRIEF_LENGTH = 1024

/**
 * How a connection ends: the client says that it will send no more; nginx does, because the client has asked for it (`Connection: close`) or
 * because it was idle for too long; the client resets it while it is idle, or in the middle of a response.
 */
export type Ending = 'half-close' | 'asked' | 'idle' | 'reset' | 'abandoned'

/** What a client does on one connection. */
export interface Plan {
  /** Paths of files, one after the other. */
  readonly requests: readonly string[]
  readonly ending: Ending
}

const MOST_REQUESTS = 10
const PATHS = ['/1k', '/1k', '/1k', '/1k', '/20k', '/20k', '/200k'] as const
const ENDINGS: readonly Ending[] = [
  'half-close',
  'half-close',
  'half-close',
  'asked',
  'asked',
  'idle',
  'reset',
  'abandoned',
]

export function planOf(random: Random): Plan {
  const requests: string[] = Array.from({ length: random.between(1, MOST_REQUESTS) }, () => random.pick(PATHS))
  const ending = random.pick(ENDINGS)
  if (ending === 'idle') requests.push(BRIEF)
  if (ending === 'abandoned') requests.push('/200k')
  return { requests, ending }
}

/** The length of the answer to a request. */
export function lengthOf(path: string): number {
  return path === BRIEF ? BRIEF_LENGTH : (files[path]?.length ?? 0)
}
