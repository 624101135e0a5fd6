import { appendFileSync } from 'node:fs'
import type { ConformanceResult } from '@xoffload/core/conformance'

/** The file that results are gathered in, one JSON object a line, by all test files of a run. */
export const RESULTS_VARIABLE = 'XOFFLOAD_CONFORMANCE'

/** Adds the result of a conformance test to the file that the environment names, if it does. For `onResult` of a suite. */
export function recordConformance(result: ConformanceResult): void {
  const file = process.env[RESULTS_VARIABLE]
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(result)}\n`)
}
