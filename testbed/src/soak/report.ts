import pc from 'picocolors'
import { percentile, printFigure } from '../figures.ts'
import type { FuzzSoakReport } from './fuzz.ts'
import type { SoakResult } from './run.ts'

/** How much of a connection's history is printed. */
const LINES = 60

/** Whether nothing was wrong. */
export function isRight({ failures, problems }: SoakResult): boolean {
  return failures.length === 0 && problems.length === 0
}

/** Prints what a soak has shown, for people. */
export function printResult(result: SoakResult): void {
  const { seed, seconds, handoffs, reasons, times, clients, orders, resumed, faults } = result
  const { stalls } = clients
  const rows: [string, string | number][] = [
    ...[...handoffs].sort(),
    ...[...reasons].sort().map(([reason, count]): [string, number] => [`  ${reason}`, count]),
    ['responses continued by another server', resumed],
    ['duration of a handoff p50, p99, max', times.length === 0 ? '-' : spread(milliseconds(times), ' ms')],
    ['client connections, requests', `${clients.connections}, ${clients.requests}`],
    ['bytes received by clients', clients.bytes],
    ['longest stall of a connection p50, p99, max', spread(stalls, ' ms')],
    ['orders: moves, drains, rebalances', `${orders.moves}, ${orders.drains}, ${orders.rebalances}`],
    ['frames lost, duplicated, reordered', `${faults.lost}, ${faults.duplicated}, ${faults.reordered}`],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  console.log(`${pc.bold('soak')}, seed ${seed}, ${seconds.toFixed(1)} s`)
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`)
  const wrong = clients.violations
  console.log(
    isRight(result)
      ? pc.green('no connection was harmed, nothing is left')
      : pc.red(`${wrong} connections were not right`),
  )
}

/** Prints what a soak has shown as figures, one JSON object a line. */
export function printFigures(result: SoakResult): void {
  const { seed, seconds, handoffs, times, clients, resumed, failures, problems } = result
  const figure = { bench: 'soak', case: 'xoffload', seed, connections: clients.connections }
  for (const [what, count] of handoffs) {
    const [direction, outcome] = what.split(' ')
    printFigure({ ...figure, metric: 'handoffs', direction, outcome, unit: 'handoffs', value: count })
  }
  printFigure({ ...figure, metric: 'handoffs_per_s', unit: 'handoffs/s', value: times.length / seconds })
  if (times.length > 0) {
    const { p50, p99, max } = milliseconds(times)
    printFigure({ ...figure, metric: 'handoff', unit: 'ms', value: p50, p50, p99, max, n: times.length })
  }
  const { p50, p99, max } = clients.stalls
  printFigure({ ...figure, metric: 'stall', unit: 'ms', value: p50, p50, p99, max, n: clients.connections })
  printFigure({ ...figure, metric: 'resumed_responses', unit: 'responses', value: resumed })
  printFigure({ ...figure, metric: 'bytes', unit: 'B', value: clients.bytes })
  printFigure({ ...figure, metric: 'violations', unit: 'connections', value: clients.violations })
  printFigure({ ...figure, metric: 'problems', unit: 'problems', value: failures.length + problems.length })
}

/** Prints what the decoders have been fed as figures. */
export function printFuzzFigures({ seed, inputs, seconds, failures }: FuzzSoakReport): void {
  const figure = { bench: 'soak', case: 'fuzz', seed }
  printFigure({ ...figure, metric: 'inputs', unit: 'inputs', value: inputs })
  printFigure({ ...figure, metric: 'inputs_per_s', unit: 'inputs/s', value: inputs / seconds })
  printFigure({ ...figure, metric: 'failures', unit: 'inputs', value: failures.length })
}

/** Says on stderr what was wrong, and how to see it again. */
export function printFailures({ seed, failures, problems }: SoakResult): void {
  for (const { connection, client, violation, history, state } of failures) {
    console.error(pc.red(`connection ${connection}, ${client}: ${violation}`))
    for (const line of [...history.slice(-LINES), ...state]) console.error(pc.dim(`  ${line}`))
  }
  for (const problem of problems) console.error(pc.red(problem))
  console.error(`npm run soak -- --seed ${seed} makes the same faults, plans and orders`)
}

/** Of microseconds, ascending. */
function milliseconds(times: readonly number[]): { p50: number; p99: number; max: number } {
  const at = (fraction: number): number => percentile(times, fraction) / 1000
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

function spread({ p50, p99, max }: { p50: number; p99: number; max: number }, unit: string): string {
  return `${[p50, p99, max].map((value) => value.toFixed(1)).join(', ')}${unit}`
}
