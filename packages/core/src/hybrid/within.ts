import type { Clock } from '../ports.ts'

/** What the promise resolves to; undefined when it rejects, or has not settled after `limit` milliseconds. */
export function within<T>(clock: Clock, limit: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.after(limit, () => resolve(undefined))
    const settle = (value: T | undefined): void => {
      cancel()
      resolve(value)
    }
    promise.then(settle, () => settle(undefined))
  })
}
