/** `npm run soak`: see {@link usage}. */
import { XoffloadError } from '@xoffload/core'
import pc from 'picocolors'
import { printAdoptionFigures, printAdoptions } from './adoptions/report.ts'
import { soakAdoptions } from './adoptions/run.ts'
import { soakFuzz } from './fuzz.ts'
import { parseOptions, type SoakCommand, usage } from './options.ts'
import { isRight, printFailures, printFigures, printFuzzFigures, printResult } from './report.ts'
import { runSoak } from './run.ts'

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args)
  if (options === undefined) {
    console.log(usage)
    return
  }
  if (options.kind === 'fuzz') await fuzz(options)
  else if (options.kind === 'adoptions') await adoptions(options)
  else await soak(options)
}

async function soak(options: Extract<SoakCommand, { kind: 'handoffs' }>): Promise<void> {
  const onProgress = (handoffs: number, seconds: number): void =>
    console.error(pc.dim(`${handoffs} of ${options.handoffs} handoffs after ${seconds.toFixed(0)} s`))
  console.error(`seed ${options.seed}`)
  const result = await runSoak({ ...options, onProgress })
  if (options.json) printFigures(result)
  else printResult(result)
  if (isRight(result)) return
  printFailures(result)
  process.exitCode = 1
}

async function adoptions({ adapters, ...options }: Extract<SoakCommand, { kind: 'adoptions' }>): Promise<void> {
  const onProgress = (done: number, seconds: number): void =>
    console.error(pc.dim(`${done} of ${options.adoptions} adoptions by each server after ${seconds.toFixed(0)} s`))
  console.error(`seed ${options.seed}`)
  for (const adapter of adapters) {
    const result = await soakAdoptions({ ...options, adapter, onProgress })
    if (options.json) printAdoptionFigures(result)
    else printAdoptions(result)
    for (const problem of result.problems) console.error(pc.red(problem))
    if (result.problems.length > 0) process.exitCode = 1
  }
}

async function fuzz({ inputs, seed, json }: Extract<SoakCommand, { kind: 'fuzz' }>): Promise<void> {
  const onProgress = (done: number): void => console.error(pc.dim(`${done} of ${inputs} inputs`))
  const report = await soakFuzz({ inputs, seed, onProgress })
  if (json) printFuzzFigures(report)
  else console.log(`${report.inputs} inputs in ${report.seconds.toFixed(1)} s, seed ${seed}`)
  for (const failure of report.failures) console.error(pc.red(failure))
  if (report.failures.length > 0) process.exitCode = 1
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  // An expected error is one sentence for the user; any other one keeps its stack.
  console.error(error instanceof XoffloadError ? `${pc.red('soak:')} ${error.message}` : error)
  process.exitCode = 1
}
