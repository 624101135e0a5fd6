import type { SimulationReport } from '@xoffload/core/simulation'

/** What many seeds came to. */
export interface Totals {
  seeds: number
  events: number
  packets: number
  crashes: number
  /** Handoffs by direction and result. */
  readonly outcomes: Map<string, number>
  /** Connections by what became of them. */
  readonly connections: Map<string, number>
  /** Seeds that broke an invariant, with what they broke first. The number that is kept is limited. */
  readonly failures: { readonly seed: number; readonly violation: string }[]
}

/** How many failing seeds are kept. */
export const MAXIMUM_FAILURES = 10

export function noTotals(): Totals {
  return { seeds: 0, events: 0, packets: 0, crashes: 0, outcomes: new Map(), connections: new Map(), failures: [] }
}

export function addReport(totals: Totals, report: SimulationReport): void {
  const [violation] = report.violations
  addTotals(totals, {
    seeds: 1,
    events: report.events,
    packets: report.packets,
    crashes: report.crashes,
    outcomes: report.outcomes,
    connections: report.connections,
    failures: violation === undefined ? [] : [{ seed: report.seed, violation }],
  })
}

type ReadonlyTotals = Omit<Totals, 'outcomes' | 'connections'> & {
  readonly outcomes: ReadonlyMap<string, number>
  readonly connections: ReadonlyMap<string, number>
}

export function addTotals(totals: Totals, more: ReadonlyTotals): void {
  totals.seeds += more.seeds
  totals.events += more.events
  totals.packets += more.packets
  totals.crashes += more.crashes
  for (const [key, count] of more.outcomes) totals.outcomes.set(key, (totals.outcomes.get(key) ?? 0) + count)
  for (const [key, count] of more.connections) totals.connections.set(key, (totals.connections.get(key) ?? 0) + count)
  const room = MAXIMUM_FAILURES - totals.failures.length
  totals.failures.push(...more.failures.slice(0, room))
}
