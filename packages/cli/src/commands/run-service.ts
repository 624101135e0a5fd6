import { requestTimeSlice } from '@xoffload/linux'
import { reportErrors } from './report-errors.ts'

/** Microseconds. A handoff waits for both hosts' turns: with the usual slice of 3 ms it takes that much longer on busy processors. */
const TIME_SLICE = 200

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Something that runs until it is told to stop. */
export interface Service {
  close(): Promise<void>
  /** Resolves when it has nothing more to do, as another process does it. */
  readonly retired?: Promise<void>
}

/** Milliseconds. What comes again within this time is the same order: a terminal signals the whole group, and npx passes its own on. */
const REPEAT_WINDOW = 1000

/**
 * Starts a service, says so with one JSON line (`event: "ready"`), and runs it until SIGINT or SIGTERM, or until it has retired. Then closes
 * it. A signal that comes more than {@link REPEAT_WINDOW} after the first one ends the process at once, which leaves what is not taken back yet.
 */
export function runService(start: () => Promise<Service>): Promise<void> {
  const stopped = stopSignal()
  return reportErrors(async () => {
    requestTimeSlice(TIME_SLICE)
    const service = await start()
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), event: 'ready' })}\n`)
    await Promise.race([stopped, ...(service.retired ? [service.retired] : [])])
    await service.close()
  })
}

/** Resolves at the first signal. */
function stopSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const receive = (): void => resolve()
  for (const signal of SIGNALS) process.on(signal, receive)
  // Without a handler a signal has its usual effect.
  const ignoreNoMore = (): void => SIGNALS.forEach((signal) => void process.off(signal, receive))
  promise.then(() => setTimeout(ignoreNoMore, REPEAT_WINDOW).unref())
  return promise
}
