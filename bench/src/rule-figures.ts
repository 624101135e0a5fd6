import { median, percentile } from '@xoffload/testbed'

/** What took how long, in microseconds. */
export interface RuleTimes {
  readonly insert: ArrayLike<number>
  readonly remove: ArrayLike<number>
}

export const RULE_METRICS = ['insert', 'remove'] as const
export type RuleMetric = (typeof RULE_METRICS)[number]

/** Mean times in the table of XO (NSDI'26), in microseconds. */
export const REFERENCE = {
  tc: { insert: 4.01, remove: 3.77 },
  xdp: { insert: 38.31, remove: 7.41 },
  cx5: { insert: 476, remove: 404 },
  cx7: { insert: 2143, remove: 1134 },
  agilio: { insert: 68, remove: 65 },
} as const

/** What a figure says of the rounds, and what was measured elsewhere. */
export interface RuleFigure {
  readonly metric: RuleMetric
  readonly unit: 'us'
  /** The median of the rounds' medians. */
  readonly value: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly n: number
  readonly reference?: number
  readonly source?: string
}

/** The figures of the rounds of one case; `reference` names its line in XO's table. */
export function ruleFigures(rounds: readonly RuleTimes[], reference?: keyof typeof REFERENCE): RuleFigure[] {
  return RULE_METRICS.map((metric) => {
    const all = Float64Array.from(rounds.flatMap((times) => Array.from(times[metric]))).sort()
    return {
      metric,
      unit: 'us',
      value: median(rounds.map((times) => percentile(Float64Array.from(times[metric]).sort(), 0.5))),
      p50: percentile(all, 0.5),
      p99: percentile(all, 0.99),
      max: percentile(all, 1),
      n: all.length,
      ...(reference && { reference: REFERENCE[reference][metric], source: "XO, NSDI'26" }),
    }
  })
}
