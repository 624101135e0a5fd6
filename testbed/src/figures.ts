/**
 * One measured figure. With `--json` every benchmark and the demo print nothing but figures to stdout, one JSON object a line. A figure
 * that was not measured is absent, never zero.
 *
 * `bench`, `case` and `metric` say what was measured, together with the parameters of the case, which are further keys. `value` is in
 * `unit`, and so are `p50`, `p99`, `max` and `reference`. `ratio` compares with the case `to` of the same run, `reference` with what
 * `source` measured elsewhere.
 */
export interface Figure {
  /** The benchmark: `rules`, `handoff`, `demo`, ... */
  readonly bench: string
  /** What was measured: `tc`, `nginx-proxy`, `xoffload`, `direct`, ... */
  readonly case: string
  /** `insert`, `requests_per_s`, `latency`, ... */
  readonly metric: string
  readonly unit: string
  /** The median of the rounds. */
  readonly value: number
  readonly p50?: number
  readonly p99?: number
  readonly max?: number
  /** The number of samples. */
  readonly n?: number
  /** `value` divided by the value of the case `to` in the same run. */
  readonly ratio?: number
  readonly to?: string
  /** The figure of `source`, which this one is compared with. */
  readonly reference?: number
  readonly source?: string
  /** Parameters of the case, such as `size` in bytes, `flows`, `connections`. */
  readonly [parameter: string]: number | string | undefined
}

/** Writes a figure to stdout: one line of JSON, or one for people. Numbers are rounded to four significant digits or to whole ones. */
export function printFigure(figure: Figure, json = true): void {
  const rounded = Object.fromEntries(
    Object.entries(figure).map(([key, value]) => [key, typeof value === 'number' ? round(value) : value]),
  )
  process.stdout.write(`${json ? JSON.stringify(rounded) : describe(rounded)}\n`)
}

function describe({
  bench,
  case: name,
  metric,
  unit,
  value,
  ...rest
}: Record<string, string | number | undefined>): string {
  const details = Object.entries(rest).map(([key, part]) => `${key} ${part}`)
  return `${bench} ${name} ${metric}: ${value} ${unit}${details.length === 0 ? '' : ` (${details.join(', ')})`}`
}

/** The median; of an even number of values the mean of the middle two. NaN when there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** The value at or below which `fraction` of the ascending samples lie (nearest rank). NaN when there are none. */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = Math.ceil(fraction * sorted.length) - 1
  return sorted[Math.min(Math.max(rank, 0), sorted.length - 1)] ?? Number.NaN
}

function round(value: number): number {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}
