import { XoffloadError } from '@xoffload/core'
import { errorText } from '../runtime/log.ts'

/** Something that runs until it is told to stop. */
export interface Service {
  close(): Promise<void>
}

/**
 * Starts a service, says so with one JSON line (`event: "ready"`), and runs it until SIGINT or SIGTERM. An error on the way is one
 * clear sentence on standard error and exit code 1; an error that the project did not foresee keeps its stack.
 */
export async function runService(start: () => Promise<Service>): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal))
  })
  try {
    const service = await start()
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), event: 'ready' })}\n`)
    await stopped
    await service.close()
  } catch (error) {
    console.error(error instanceof XoffloadError ? `xoffload: ${errorText(error)}` : error)
    process.exitCode = 1
  }
}
