/** `npm run simulate`: see {@link usage}. */
import { XoffloadError } from '@xoffload/core'
import { simulate } from '@xoffload/core/simulation'
import pc from 'picocolors'
import { LiveLine } from '../demo/live-line.ts'
import { parseOptions, type SimulateOptions, usage } from './options.ts'
import { runSeeds } from './pool.ts'
import { printFailures, printTotals } from './print.ts'

const liveLine = new LiveLine()

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args)
  if (options === undefined) console.log(usage)
  else if (options.replay) await replay(options)
  else await runAll(options)
}

/** One seed, step by step. */
async function replay({ seed, sabotage }: SimulateOptions): Promise<void> {
  const { violations } = await simulate(seed, { sabotage, trace: (line) => console.log(line) })
  for (const violation of violations) console.error(pc.red(violation))
  if (violations.length > 0) process.exitCode = 1
  else console.error(pc.green('All invariants held.'))
}

async function runAll(options: SimulateOptions): Promise<void> {
  const started = performance.now()
  const totals = await runSeeds(options, ({ seeds }) => liveLine.show(`${seeds.toLocaleString('en')} seeds`))
  liveLine.clear()
  printTotals(totals, (performance.now() - started) / 1000)
  printFailures(totals, options)
  const wanted = options.sabotage !== undefined
  if (totals.failures.length > 0 !== wanted) process.exitCode = 1
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  liveLine.clear()
  // An expected error is one sentence for the user; any other one keeps its stack.
  console.error(error instanceof XoffloadError ? `${pc.red('simulate:')} ${error.message}` : error)
  process.exitCode = 1
}
