/**
 * Watches one CPU, a program of its own that is to run there alone and with real-time priority:
 *
 *     taskset -c CPU chrt --fifo 99 bun watch.ts
 *
 * It wants to run each millisecond, and no program goes before it. When it comes much too late the machine itself stood still: its hypervisor
 * gave the CPU to another one. Prints `{"event":"watching"}`, and a line `{"from":…,"to":…}` for each such time, in milliseconds since
 * the epoch.
 */
import { writeSync } from 'node:fs'
import type { Pause } from './pauses.ts'

/**
 * Milliseconds. Interrupt handlers go before real-time programs: one round of them may take 8 ms for packets (net.core.netdev_budget_usecs, two
 * ticks of a kernel with 250 Hz), after the 1 ms that this sleeps.
 */
const LEAST = 12

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
