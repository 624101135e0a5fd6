import { addTallies, emptyTally, failed, type Tally } from '../runner/junit.ts'

/** Something about the repository that must hold. It counts as one test. */
export interface Check {
  readonly name: string
  /** Resolves to nothing when it holds, to the reason when it does not. */
  run(): Promise<string | undefined>
}

/** Runs checks one after the other and prints each result to stderr, in the form of `bun test`. */
export async function runChecks(checks: readonly Check[]): Promise<Tally> {
  let tally = emptyTally
  for (const check of checks) {
    const started = performance.now()
    const reason = await check.run().catch((error: unknown) => (error instanceof Error ? error.stack : `${error}`))
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    if (reason !== undefined) process.stderr.write(`${reason.trimEnd()}\n`)
    process.stderr.write(`(${reason === undefined ? 'pass' : 'fail'}) check: ${check.name} [${seconds} s]\n`)
    tally = addTallies(
      tally,
      reason === undefined ? { ...emptyTally, passed: 1 } : failed(`check: ${check.name}`, reason),
    )
  }
  return tally
}
