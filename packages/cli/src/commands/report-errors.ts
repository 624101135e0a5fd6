import { XoffloadError } from '@xoffload/core'
import { OutputClosed } from './output.ts'

/**
 * Runs a command. An error of this project is one clear sentence on standard error, one that nobody foresaw keeps its stack; both
 * make the exit code 1. When whoever read standard output has gone away, the command just ends.
 */
export async function reportErrors(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof OutputClosed) return
    console.error(error instanceof XoffloadError ? `xoffload: ${error.message}` : error)
    process.exitCode = 1
  }
}
