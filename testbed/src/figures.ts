/** One measured figure, as every benchmark and the demo print it with `--json`: DESIGN.md, "Figures". */
export interface Figure {
  /** The benchmark's name. */
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

/** Writes a figure to stdout as one line of JSON. Numbers are rounded to four significant digits or to whole ones. */
export function printFigure(figure: Figure): void {
  const rounded = Object.entries(figure).map(([key, value]) => [key, typeof value === 'number' ? round(value) : value])
  process.stdout.write(`${JSON.stringify(Object.fromEntries(rounded))}\n`)
}

/** The median; of an even number of values the mean of the middle two. NaN when there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

function round(value: number): number {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}
