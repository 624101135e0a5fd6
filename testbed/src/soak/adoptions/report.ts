import pc from 'picocolors'
import { printFigure } from '../../figures.ts'
import type { AdoptionSoakResult } from './run.ts'
import type { Trend } from './trend.ts'

const MIB = 1024 * 1024

/** Prints what a soak of adoptions has shown, for people. */
export function printAdoptions(result: AdoptionSoakResult): void {
  const { adapter, seed, seconds, adoptions, connections, requests, trends, problems } = result
  console.log(`${pc.bold('soak')} of adoptions by ${adapter}, seed ${seed}, ${seconds.toFixed(1)} s`)
  console.log(`${adoptions} adoptions by each server, ${connections} connections, ${requests} requests`)
  const width = Math.max(...trends.map((trend) => nameOf(trend).length))
  for (const trend of trends) console.log(`${nameOf(trend).padEnd(width)}  ${describe(trend)}`)
  console.log(problems.length === 0 ? pc.green('flat, and no connection was harmed') : pc.red('not as it should be'))
}

/** Prints it as figures, one JSON object a line: `value` is the last one of `first`, and `slope` is for each adoption. */
export function printAdoptionFigures({
  adapter,
  seed,
  adoptions,
  seconds,
  trends,
  problems,
}: AdoptionSoakResult): void {
  const figure = { bench: 'soak', case: 'adoptions', adapter, seed, adoptions }
  printFigure({ ...figure, metric: 'adoptions_per_s', unit: 'adoptions/s', value: adoptions / seconds })
  for (const { what, metric, first, last, slope } of trends) {
    const unit = metric === 'descriptors' ? 'descriptors' : 'B'
    printFigure({ ...figure, program: what, metric, unit, value: last, first, slope })
  }
  printFigure({ ...figure, metric: 'problems', unit: 'problems', value: problems.length })
}

function nameOf({ what, metric }: Trend): string {
  return `${what}: ${metric}`
}

function describe({ metric, first, last, slope }: Trend): string {
  if (metric === 'descriptors') return `${first} to ${last}`
  return `${(first / MIB).toFixed(1)} to ${(last / MIB).toFixed(1)} MiB, ${slope.toFixed(1)} bytes for each adoption`
}
