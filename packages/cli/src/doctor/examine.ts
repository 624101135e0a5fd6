import { errorText } from '@xoffload/core'
import { type Check, type Examined, failed, type Result } from './check.ts'

/** The result of the check with this name. */
export interface Finding extends Result {
  readonly check: string
}

/** How long one check may take, in milliseconds. */
const TIME_LIMIT = 10_000

/** Runs checks one after the other, since some open what others look at. Never throws: a check that does has failed. */
export async function* examine(
  checks: readonly Check[],
  examined: Examined,
  timeLimit = TIME_LIMIT,
): AsyncGenerator<Finding, void, undefined> {
  for (const check of checks) {
    const result = await resultOf(check, examined, timeLimit)
    if (result !== undefined) yield { check: check.name, ...result }
  }
}

async function resultOf(check: Check, examined: Examined, timeLimit: number): Promise<Result | undefined> {
  const late = Promise.withResolvers<Result>()
  const timer = setTimeout(
    () => late.resolve(failed(`no result within ${timeLimit} ms: is the host overloaded?`)),
    timeLimit,
  )
  try {
    return await Promise.race([check.run(examined), late.promise])
  } catch (error) {
    return failed(errorText(error))
  } finally {
    clearTimeout(timer)
  }
}
