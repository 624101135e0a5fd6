import { XoffloadError } from '@xoffload/core'

/**
 * Runs a command. An error of this project is one clear sentence on standard error, one that nobody foresaw keeps its stack; both
 * make the exit code 1.
 */
export async function reportErrors(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    console.error(error instanceof XoffloadError ? `xoffload: ${error.message}` : error)
    process.exitCode = 1
  }
}
