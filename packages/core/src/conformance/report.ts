import { groupBy } from './group-by.ts'
/** How one redirector did in one test. */
export interface ConformanceResult {
  readonly redirector: string
  readonly group: string
  readonly test: string
  /** `absent`: the redirector does not have what is tested, says so, and refuses it. */
  readonly outcome: 'passed' | 'failed' | 'absent'
  /** Why it is absent, or has failed; of one that has passed, how much less was done than is meant to be. */
  readonly reason?: string
}

/**
 * A table as text: a row per test, a column per redirector, in order of appearance. A number in a cell is that of a reason; they are
 * listed below.
 */
export function conformanceTable(results: readonly ConformanceResult[]): string {
  const redirectors = [...new Set(results.map(({ redirector }) => redirector))]
  const tests = groupBy(results, ({ group, test }) => `${group}: ${test}`)
  const reasons = new Map<string, number>()
  const number = (reason: string) => {
    const found = reasons.get(reason) ?? reasons.size + 1
    reasons.set(reason, found)
    return found
  }
  const cell = (result: ConformanceResult | undefined) => {
    if (result === undefined) return 'not run'
    if (result.outcome === 'failed') return 'FAILED'
    const word = result.outcome === 'passed' ? 'yes' : 'absent'
    return result.reason === undefined ? word : `${word} ${number(result.reason)}`
  }
  const rows = [...tests].map(([test, of]) => [
    test,
    ...redirectors.map((name) => cell(of.find(({ redirector }) => redirector === name))),
  ])
  const counts = redirectors.map((name) => {
    const of = results.filter(({ redirector }) => redirector === name)
    return `${name}: ${['passed', 'absent', 'failed'].map((outcome) => `${of.filter((each) => each.outcome === outcome).length} ${outcome}`).join(', ')}`
  })
  const lines = aligned([['test', ...redirectors], ...rows])
  const notes = [...reasons].map(([reason, index]) => `${index}: ${reason}`)
  return `${[...lines, '', ...notes, ...(notes.length > 0 ? [''] : []), ...counts].join('\n')}\n`
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [at, text] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, text.length)
  return rows.map((row) =>
    row
      .map((text, at) => text.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
