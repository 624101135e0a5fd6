import { requestTimeSlice } from '@xoffload/linux'
import { reportErrors } from './report-errors.ts'

/** Microseconds. A handoff waits for both hosts' turns: with the usual slice of 3 ms it takes that much longer on busy processors. */
const TIME_SLICE = 200

/** Something that runs until it is told to stop. */
export interface Service {
  close(): Promise<void>
  /** Resolves when it has nothing more to do, as another process does it. */
  readonly retired?: Promise<void>
}

/**
 * Starts a service, says so with one JSON line (`event: "ready"`), and runs it until SIGINT or SIGTERM, or
 * until it has retired. */
export function runService(start: () => Promise<Service>): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  return reportErrors(async () => {
    requestTimeSlice(TIME_SLICE)
    const service = await start()
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), event: 'ready' })}\n`)
    await Promise.race([stopped, ...(service.retired ? [service.retired] : [])])
    await service.close()
  })
}
