import pc from 'picocolors'
import type { SimulateOptions } from './options.ts'
import type { Totals } from './totals.ts'

const DIRECTIONS = ['gateway-to-server', 'server-to-gateway', 'server-to-server']
const RESULTS = ['handed-off', 'rolled-back', 'lost']
const ENDS = ['closed', 'open', 'reset', 'aborted', 'timed out']

export function printTotals(totals: Totals, seconds: number): void {
  const { seeds, events, packets, crashes, outcomes, connections } = totals
  console.log(
    `${number(seeds)} seeds in ${seconds.toFixed(1)} s: ${number(Math.round(seeds / seconds))} seeds/s, ` +
      `${number(events)} events, ${number(packets)} packets, ${number(crashes)} crashes\n`,
  )
  printRow('handoffs', RESULTS)
  for (const direction of DIRECTIONS) {
    printRow(
      direction,
      RESULTS.map((result) => number(outcomes.get(`${direction} ${result}`) ?? 0)),
    )
  }
  console.log()
  printRow('', ENDS)
  printRow(
    'connections',
    ENDS.map((end) => number(connections.get(end) ?? 0)),
  )
  console.log()
}

/** What the failing seeds broke, and how to see it. */
export function printFailures({ failures, seeds }: Totals, { sabotage }: SimulateOptions): void {
  if (failures.length === 0) {
    console.log(sabotage === undefined ? pc.green('All invariants held.') : pc.red(`${sabotage} was not found.`))
    return
  }
  const more = sabotage === undefined ? '' : ` --break ${sabotage}`
  if (sabotage !== undefined) console.log(pc.green(`${sabotage} was found within ${number(seeds)} seeds:`))
  for (const { seed, violation } of failures) {
    console.log(`${pc.red(violation)}\n  npm run simulate -- --seed ${seed}${more}`)
  }
}

function printRow(name: string, cells: readonly string[]): void {
  console.log(name.padEnd(20) + cells.map((cell) => cell.padStart(14)).join(''))
}

function number(value: number): string {
  return value.toLocaleString('en')
}
