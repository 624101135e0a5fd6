import type { Clock } from '@xoffload/core'

/** The process's monotonic clock and its timers. A pending timer does not keep the process alive. */
export const systemClock: Clock = {
  now: () => Bun.nanoseconds() / 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
