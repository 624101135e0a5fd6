// Runs the tests of all packages, tier by tier, and in CI the checks of the repository. Exits with 1 when a test or check
// failed or was skipped. The last line on stdout is "N passed, N failed, N skipped".
import { dirname } from 'node:path'
import { runChecks } from './checks/check.ts'
import { leftoverChecks, testRunVariable } from './checks/leftovers.ts'
import { packageChecks } from './checks/packages.ts'
import { bpfObjects, preloadLibrary, staticChecks } from './checks/static.ts'
import { parseTestArguments, UsageError, usage } from './runner/arguments.ts'
import { addTallies, emptyTally, type Failure, failed, type Tally } from './runner/junit.ts'
import { runGroup } from './runner/run-group.ts'
import { findTestFiles, groupTestFiles, runsHere } from './runner/test-files.ts'

const root = dirname(import.meta.dir)

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(`${usage}\n`)
    return 0
  }
  const options = parseTestArguments(args, process.env)
  const files = findTestFiles(root).filter(
    (file) => options.patterns.length === 0 || options.patterns.some((pattern) => file.includes(pattern)),
  )
  const groups = groupTestFiles(files).filter((group) => options.tiers.includes(group.tier))
  if (groups.length === 0) throw new UsageError(`no test file matches ${options.patterns.join(' or ') || 'the tier'}.`)

  process.env[testRunVariable] = crypto.randomUUID()
  const leftovers = options.checks && process.platform === 'linux' ? await leftoverChecks() : []
  let tally = options.checks
    ? await runChecks([...staticChecks(root), bpfObjects(root), preloadLibrary(root)])
    : emptyTally
  for (const group of groups) {
    if (!runsHere(group)) {
      say(`${group.directory}: its tests call Linux and do not run on ${process.platform}`)
      continue
    }
    say(`tests of ${group.directory} (${group.tier})`)
    tally = addTallies(tally, await runGroup(root, group, options))
  }
  tally = addTallies(tally, await runChecks(leftovers))
  if (options.checks) tally = addTallies(tally, await runChecks(packageChecks(root)))
  if (tally.passed + tally.failed === 0) tally = addTallies(tally, failed('no test was run'))
  return report(tally)
}

/** How much of a reason the summary repeats. */
const reasonLines = 20
const reasonColumns = 200

function report({ passed, failed, skipped, failures }: Tally): number {
  if (failures.length > 0) process.stderr.write(`\nFailed:\n${failures.map(summary).join('')}`)
  process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`)
  return failed > 0 || skipped > 0 ? 1 : 0
}

/** The name of a test that failed and the beginning of the reason: whoever sees the end of a long output only has it all. */
function summary({ name, reason }: Failure): string {
  const lines = reason.split('\n').filter((line) => line.trim() !== '')
  const shown = lines.slice(0, reasonLines).map((line) => `      ${line.slice(0, reasonColumns)}\n`)
  return `  ${name}\n${shown.join('')}${lines.length > reasonLines ? '      …\n' : ''}`
}

function say(text: string): void {
  process.stderr.write(`\n# ${text}\n`)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`npm test: ${error.message}\n`)
  process.exitCode = 1
}
