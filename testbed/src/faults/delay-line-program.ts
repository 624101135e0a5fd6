// The process behind a faulty link: reads frames from two TAPs, and writes each back into its TAP when it is due. It runs until its
// stdin ends, and then writes back at once what still waits.   bun delay-line-program.ts FROM-HOST-TAP TO-HOST-TAP
import { writeSync } from 'node:fs'
import { LinuxError, requestTimeSlice, Tap, waitReadable } from '@xoffload/linux'
import { DelayLine } from './delay-line.ts'

/** Frames that the kernel keeps while this process waits for its turn. */
const QUEUE_LENGTH = 65_536
/** So many are read before those that are due meanwhile are written. */
const READ_LIMIT = 256
const STDIN = 0

const taps = process.argv.slice(2).map((name) => Tap.open({ name, queueLength: QUEUE_LENGTH }))
const line = new DelayLine<Tap>()
requestTimeSlice(500)
writeSync(1, `${JSON.stringify(taps.map(({ ifindex }) => ifindex))}\n`)

const watched = [...taps.map(({ fd }) => fd), STDIN]
for (let ended = false; !ended; ) {
  const due = line.nextDue
  const ready = waitReadable(watched, due === undefined ? undefined : Math.max(0, due - microseconds()))
  ended = ready.at(-1) === true
  for (const [index, tap] of taps.entries()) if (ready[index] === true || ended) receive(tap)
  release(ended ? Number.POSITIVE_INFINITY : microseconds())
}

function receive(tap: Tap): void {
  for (let count = 0; count < READ_LIMIT; count++) {
    const frame = tap.read()
    if (frame === undefined) return
    line.push(frame, tap, microseconds())
  }
}

function release(now: number): void {
  for (let entry = line.take(now); entry !== undefined; entry = line.take(now)) {
    try {
      entry.destination.write(entry.frame)
    } catch (error) {
      // The kernel refuses a malformed frame that a host may send all the same: it is lost, and counted as never released.
      if (!(error instanceof LinuxError && error.errno === 'EINVAL')) throw error
    }
  }
}

function microseconds(): number {
  return performance.now() * 1000
}
