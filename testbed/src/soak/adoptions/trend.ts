import type { Metric, Usage } from './usage.ts'

/** What programs held while they had no connection, after so many adoptions. */
export interface Sample {
  readonly adoptions: number
  readonly usage: ReadonlyMap<string, Usage>
}

/** How one figure of one program has developed. */
export interface Trend {
  /** Such as `server1 agent`. */
  readonly what: string
  readonly metric: Metric
  readonly first: number
  readonly last: number
  /** For each adoption, by least squares over the second half of the samples. */
  readonly slope: number
  /** In words, when it has risen. */
  readonly problem?: string
}

interface Point {
  readonly x: number
  readonly y: number
}

const MIB = 1024 * 1024
/**
 * What there may be more in the end than in the beginning, for nginx and for those that say what their heap holds. An agent knows the
 * connections that have ended in the last seconds, and a process that runs on has touched more and more of its own memory.
 */
const ALLOWED: Readonly<Record<'nginx' | 'probed', Readonly<Record<'memory' | 'heap', number>>>> = {
  nginx: { memory: 2 * MIB, heap: 0 },
  probed: { memory: 96 * MIB, heap: 8 * MIB },
}
/** A worker of nginx with the library connects to the agent when it first accepts a connection, which may be late. */
export const ALLOWED_DESCRIPTORS = 12
const METRICS: readonly Metric[] = ['memory', 'heap', 'descriptors']

/** A trend for each figure that all samples have. */
export function trendsOf(samples: readonly Sample[]): Trend[] {
  const programs = [...(samples[0]?.usage ?? [])]
  return programs.flatMap(([what, usage]) =>
    METRICS.filter((metric) => usage[metric] !== undefined).map((metric) => trendOf(samples, what, metric)),
  )
}

function trendOf(samples: readonly Sample[], what: string, metric: Metric): Trend {
  const usages = samples.map(({ adoptions, usage }) => ({ x: adoptions, usage: usage.get(what) ?? {} }))
  const points = usages.map(({ x, usage }): Point => ({ x, y: usage[metric] ?? 0 }))
  const [first, last] = [points[0]?.y ?? 0, points.at(-1)?.y ?? 0]
  const kind = usages.every(({ usage }) => usage.heap === undefined) ? 'nginx' : 'probed'
  const allowed = metric === 'descriptors' ? ALLOWED_DESCRIPTORS : ALLOWED[kind][metric]
  const problem = `${what}: ${metric} has risen from ${first} to ${last}`
  return {
    what,
    metric,
    first,
    last,
    slope: slopeOf(points.slice(points.length / 2)),
    ...(last - first > allowed && { problem }),
  }
}

/** Of the line through the points that has the least squares; 0 when there are too few. */
function slopeOf(points: readonly Point[]): number {
  const mean = (of: (point: Point) => number): number =>
    points.reduce((total, point) => total + of(point), 0) / points.length
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)]
  const variance = mean((point) => (point.x - x) ** 2)
  return variance > 0 ? mean((point) => (point.x - x) * (point.y - y)) / variance : 0
}
