/**
 * Watches one CPU, a program of its own that is to run there alone and with real-time priority:
 *
 *     taskset -c CPU chrt --fifo 99 bun watch.ts
 *
 * It wants to run each millisecond. When it comes too late no program of this machine was the cause, but the machine itself, which stood still: its
 * hypervisor gave the CPU to another one. Prints `{"event":"watching"}`, and a line `{"from":…,"to":…}` for each such time, in milliseconds since
 * the epoch.
 */
import { writeSync } from 'node:fs'
import type { Pause } from './pauses.ts'

/** Interrupt handlers go before real-time programs, and may take two ticks at a time for packets (net.core.netdev_budget_usecs). */
const LEAST = 9

function say(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

say({ event: 'watching' })
for (let from = performance.now(); ; ) {
  Bun.sleepSync(1)
  const to = performance.now()
  if (to - from >= LEAST) say({ from: performance.timeOrigin + from, to: performance.timeOrigin + to } satisfies Pause)
  from = to
}
