import { setTimeout as sleep } from 'node:timers/promises'
import { LinuxError } from '../errno.ts'

export interface WaitOptions {
  /** After this the operation rejects with `ETIMEDOUT`. Default 10,000. */
  readonly timeoutMilliseconds?: number
  /** Aborts the operation, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

const DEFAULT_TIMEOUT_MILLISECONDS = 10_000
const FIRST_PAUSE_MILLISECONDS = 1
const LONGEST_PAUSE_MILLISECONDS = 16

/**
 * Calls `probe` until it gives something other than `undefined`, and leaves the event loop to others in between. Bun tells nobody
 * when a descriptor that it did not open itself can be read, and its own sockets read with recv(2), which throws descriptors away;
 * so this looks again after 1 millisecond, and after twice the time each time, up to 16.
 */
export async function poll<T>(call: string, probe: () => T | undefined, options: WaitOptions = {}): Promise<T> {
  const { timeoutMilliseconds = DEFAULT_TIMEOUT_MILLISECONDS, signal } = options
  const deadline = performance.now() + timeoutMilliseconds
  for (let pause = FIRST_PAUSE_MILLISECONDS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MILLISECONDS)) {
    signal?.throwIfAborted()
    const result = probe()
    if (result !== undefined) return result
    const left = deadline - performance.now()
    if (left <= 0) throw new LinuxError(call, 'ETIMEDOUT', `nothing happened for ${timeoutMilliseconds} ms`)
    await pauseFor(Math.min(pause, left), signal)
  }
}

/** Rejects with the signal's reason, not with the timer's own error. */
export async function pauseFor(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
