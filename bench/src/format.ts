/** One measured figure: a line of JSON on stdout. A figure that was not measured is absent, never zero. */
export interface Figure {
  /** The benchmark: `rules`, `handoff`, ... */
  readonly bench: string
  /** What was measured: `tc`, `nginx-proxy`, `xoffload`, ... */
  readonly case: string
  readonly metric: string
  readonly unit: string
  /** The median of the rounds. */
  readonly value: number
  readonly p50?: number
  readonly p99?: number
  readonly max?: number
  /** How many samples. */
  readonly n?: number
  readonly ratio?: number
  /** The case that `ratio` compares with, measured in the same run. */
  readonly to?: string
  /** A figure from elsewhere to compare with, and where it is from. */
  readonly reference?: number
  readonly source?: string
  /** Parameters of the case, such as `size` in bytes or `flows`. */
  readonly [parameter: string]: string | number | undefined
}

/** Writes a figure to stdout: JSON, or a line for people. Numbers keep three decimals. */
export function printFigure(figure: Figure, json: boolean): void {
  const rounded = Object.fromEntries(
    Object.entries(figure).map(([key, value]) => [key, typeof value === 'number' ? Number(value.toFixed(3)) : value]),
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
  return `${bench} ${name} ${metric}: ${value} ${unit} (${details.join(', ')})`
}

/** The value below which `fraction` of the sorted samples lie (nearest rank). NaN without samples. */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = Math.ceil(fraction * sorted.length) - 1
  return sorted[Math.min(Math.max(rank, 0), sorted.length - 1)] ?? Number.NaN
}

export function median(values: Iterable<number>): number {
  return percentile(Float64Array.from(values).sort(), 0.5)
}
