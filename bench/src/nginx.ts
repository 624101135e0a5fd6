/**
 * `npm run bench -- nginx [--quick] [--json]`: files from four stock nginx servers, by size. A gateway hands the connections to them, which
 * move on to the next server after every request, every 10 and never again, by the library that nginx is started with, and never again by
 * nginx's module; beside nginx and HAProxy as proxies before such servers, and beside a client that asks one of them, or all four, itself.
 * The cases take turns, so all meet the same disturbance.
 */
import {
  buildNginxModule,
  type Figure,
  median,
  printFigure,
  TestbedError,
  type WrkResult,
  wrk,
} from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'
import {
  type Case,
  type GatewayCounts,
  type HandoffOptions,
  handoffCase,
  ordinaryCases,
  pathOf,
} from './nginx-hosts.ts'

/** How connections move, and by what nginx takes them. */
const HANDOFFS: readonly Omit<HandoffOptions, 'sizes'>[] = [
  { every: 1, adapter: 'preload' },
  { every: 10, adapter: 'preload' },
  { every: 'never', adapter: 'preload' },
  { every: 'never', adapter: 'module' },
]
const SIZES = [1024, 16_384, 65_536, 262_144, 1_048_576, 4_194_304]
const PROXIES = ['nginx-proxy', 'haproxy']
const DIRECT = ['direct', 'direct-4']
const CONNECTIONS = 32
/** New connections of each run before anything is measured: programs that have run for a while have been compiled. */
const FIRST_CONNECTIONS = 128
/** One for each server that is asked directly. */
const THREADS = 4
/** Seconds until a request counts as failed: a busy machine may be slow. */
const TIMEOUT = 20

interface Plan {
  readonly sizes: readonly number[]
  /** Of new connections, before the rounds. */
  readonly firstRuns: number
  readonly rounds: number
  /** Of each measurement. */
  readonly seconds: number
}

const FULL: Plan = { sizes: SIZES, firstRuns: 4, rounds: 4, seconds: 2 }
/** To see that it works. */
const QUICK: Plan = { sizes: [1024, 65_536, 1_048_576], firstRuns: 0, rounds: 1, seconds: 1 }

interface Sample extends WrkResult {
  /** Handoffs that succeeded, for each request. */
  readonly handoffs?: number
}

/** The rounds of each case, by its name. */
type Results = ReadonlyMap<string, Sample[]>

/** Measures and prints. Needs root, nginx, HAProxy and wrk. */
export async function run({ json, args }: BenchOptions): Promise<void> {
  const plan = args.includes('--quick') ? QUICK : FULL
  await using testbeds = new AsyncDisposableStack()
  const cases: Case[] = []
  await buildNginxModule()
  for (const each of HANDOFFS) cases.push(await handoffCase(testbeds, { ...each, sizes: plan.sizes }))
  cases.push(...(await ordinaryCases(testbeds, plan.sizes)))
  await warmUp(cases, plan)
  const table: string[] = []
  for (const size of plan.sizes) {
    const results = await measure(cases, size, plan)
    for (const figure of report(cases, size, results)) printFigure(figure, json)
    table.push(...rows(cases, size, results))
  }
  console.error([HEADING, ...table].join('\n'))
}

async function warmUp(cases: readonly Case[], { sizes: [size = 0], firstRuns }: Plan): Promise<void> {
  for (let run = 0; run < firstRuns; run++) {
    for (const each of cases) await load(each, size, 1, FIRST_CONNECTIONS)
  }
}

async function measure(cases: readonly Case[], size: number, { rounds, seconds }: Plan): Promise<Results> {
  const results = new Map<string, Sample[]>(cases.map(({ name }) => [name, []]))
  // The first round warms the programs up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const each of cases) {
      const sample = await load(each, size, round === 0 ? 1 : seconds)
      if (round > 0) results.get(each.name)?.push(sample)
      const rate = sample.requestsPerSecond.toFixed(0)
      console.error(`nginx, ${size} bytes, round ${round} of ${rounds}, ${each.name}: ${rate}/s`)
    }
  }
  return results
}

async function load(
  { name, client, url, addresses, programs, counts }: Case,
  size: number,
  duration: number,
  connections = CONNECTIONS,
) {
  for (const program of programs) program.assertRunning()
  const before = await counts?.()
  const result = await wrk(client, {
    url: `${url}${pathOf(size)}`,
    duration,
    connections,
    threads: THREADS,
    timeout: TIMEOUT,
    ...(addresses && { addresses }),
  })
  const { connect, read, write, timeout } = result.socketErrors
  if (connect + read + write + timeout + result.non2xx > 0) {
    throw new TestbedError(`requests failed with ${name} at ${size} bytes: ${JSON.stringify(result)}`)
  }
  const after = await counts?.()
  if (before === undefined || after === undefined) return result
  return { ...result, handoffs: handedOff(name, before, after) / result.requests }
}

/** How many handoffs have succeeded. Throws {@link TestbedError} when the gateway did something else with a connection. */
function handedOff(name: string, before: GatewayCounts, after: GatewayCounts): number {
  const grown = (result: string) => (after.handoffs[result] ?? 0) - (before.handoffs[result] ?? 0)
  const relayed = after.relayed - before.relayed
  const lost = grown('lost')
  if (relayed + lost > 0) throw new TestbedError(`with ${name} ${relayed} connections were relayed and ${lost} lost`)
  return grown('handed-off')
}

const rate = ({ requestsPerSecond }: WrkResult): number => requestsPerSecond
const throughput = ({ bytesPerSecond }: WrkResult): number => bytesPerSecond / 1e6

/** The median of a case's rounds. */
function middle(results: Results, name: string, of: (sample: Sample) => number): number {
  return median((results.get(name) ?? []).map(of))
}

/** How many times as many requests as another case. The machine has better and worse times, so each round is compared with itself. */
function compare(results: Results, name: string, to: string): number {
  const others = results.get(to) ?? []
  return median((results.get(name) ?? []).map((sample, round) => rate(sample) / rate(others[round] as Sample)))
}

function* report(cases: readonly Case[], size: number, results: Results): Generator<Figure> {
  for (const { name, figure, counts } of cases) {
    const of = (value: (sample: Sample) => number) => middle(results, name, value)
    const n = results.get(name)?.length ?? 0
    const common = { bench: 'nginx', ...figure, size, connections: CONNECTIONS, n }
    const requests = { ...common, metric: 'requests_per_s', unit: '1/s', value: of(rate) }
    yield requests
    const others = counts === undefined ? [] : [...PROXIES, ...DIRECT]
    for (const to of others) yield { ...requests, ratio: compare(results, name, to), to }
    yield { ...common, metric: 'throughput', unit: 'MB/s', value: of(throughput) }
    const p50 = of((sample) => sample.p50)
    yield { ...common, metric: 'latency', unit: 'us', value: p50, p50, p99: of((sample) => sample.p99) }
    if (counts === undefined) continue
    const share = 100 * compare(results, name, 'direct')
    yield { ...common, metric: 'of_direct', unit: '%', value: share, to: 'direct' }
    yield { ...common, metric: 'handoffs_per_request', unit: '1', value: of(({ handoffs = Number.NaN }) => handoffs) }
  }
}

const WIDTHS = [8, 22, 10, 9, 9, 9, 9, 10, 10, 9]
const HEADING = row('bytes', 'case', '1/s', 'MB/s', 'p50 us', 'p99 us', 'x nginx', 'x HAProxy', '% direct', 'handoffs')

/** The table for people. */
function rows(cases: readonly Case[], size: number, results: Results): string[] {
  return cases.map(({ name, counts }) => {
    const of = (value: (sample: Sample) => number) => middle(results, name, value)
    const absolute = [of(rate), of(throughput), of(({ p50 }) => p50), of(({ p99 }) => p99)]
    return row(
      `${size}`,
      name,
      ...absolute.map((value) => value.toFixed(0)),
      ...PROXIES.map((proxy) => compare(results, name, proxy).toFixed(2)),
      (100 * compare(results, name, 'direct')).toFixed(0),
      counts === undefined ? '' : of(({ handoffs = Number.NaN }) => handoffs).toFixed(2),
    )
  })
}

function row(...cells: readonly string[]): string {
  return cells.map((cell, index) => cell.padStart(WIDTHS[index] ?? 0)).join(' ')
}
