import { availableParallelism } from 'node:os'
import { startConnectClient } from '../deployment/programs.ts'
import { median } from '../figures.ts'
import { type WrkResult, wrk } from '../peers/wrk.ts'
import { type Case, type CaseName, caseNames, type Installation } from './installation.ts'
import type { DemoOptions } from './options.ts'

/** Sizes of the responses, in bytes. */
export const sizes = [4 * 1024, 64 * 1024, 1024 * 1024] as const
/** How often each case is measured at each size. */
export const rounds = 3
/** Connections before the first figure. */
const WARM_UP = 5000

/** One run of wrk. */
interface Sample extends WrkResult {
  /** CPU seconds of the gateway's program during the run, absent where there is none. */
  readonly gatewayCpuSeconds?: number
}

/** A case at one size: medians of the rounds. */
export interface Measurement {
  readonly name: CaseName
  readonly size: number
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
  /** Microseconds. */
  readonly p50: number
  readonly p99: number
  /** The longest request of all rounds, microseconds. */
  readonly max: number
  /** Requests of all rounds. */
  readonly requests: number
  /** Requests per second compared with the nginx proxy. */
  readonly ratio: number
  /** CPU seconds of the gateway's program for each 10^9 bytes. */
  readonly gatewayCpuPerGigabyte?: number
  /** Connections that broke, timeouts, and responses with an error status, of all rounds. */
  readonly errors: number
}

/** Where the measurement is, for the live line. `last` is the newest result. */
export interface Progress {
  readonly run: number
  readonly runs: number
  readonly name: CaseName
  readonly size: number
  readonly last: WrkResult | undefined
}

/** Measures all cases at all sizes, the cases in turn and each round in another order, so that a drift hits all of them. */
export async function measure(
  installation: Installation,
  options: DemoOptions,
  report: (progress: Progress) => void,
): Promise<Measurement[]> {
  const { cases } = installation
  const samples = new Map<string, Sample[]>()
  const runs = sizes.length * rounds * cases.length
  let run = 0
  let last: WrkResult | undefined
  // Programs that were just started compile themselves while they run.
  await handOffMany(installation)
  for (const size of sizes) for (const each of cases) await load(installation, each, size, { ...options, seconds: 1 })
  for (const size of sizes) {
    for (let round = 0; round < rounds; round += 1) {
      for (const each of rotated(cases, round)) {
        run += 1
        report({ run, runs, name: each.name, size, last })
        const sample = await load(installation, each, size, options)
        const key = `${each.name} ${size}`
        samples.set(key, [...(samples.get(key) ?? []), sample])
        last = sample
      }
    }
  }
  return sizes.flatMap((size) => summarise(size, (name) => samples.get(`${name} ${size}`) ?? []))
}

/** A gateway that has served for a while has handed many connections over; in a run of wrk there are only a few. */
async function handOffMany({ client, testbed }: Installation): Promise<void> {
  const program = startConnectClient(client, testbed.service?.ipv4 ?? '', WARM_UP, 8)
  await program.line(/"completed"/, { timeout: 60_000 })
}

async function load({ client }: Installation, each: Case, size: number, options: DemoOptions): Promise<Sample> {
  each.gateway?.assertRunning()
  const before = each.gateway?.cpuSeconds()
  const result = await wrk(client, {
    url: `${each.origin}/bytes/${size}`,
    duration: options.seconds,
    connections: options.connections,
    // wrk and the servers share the machine's cores: half of them for each.
    threads: Math.min(options.connections, availableParallelism()),
  })
  if (each.gateway === undefined || before === undefined) return result
  return { ...result, gatewayCpuSeconds: each.gateway.cpuSeconds() - before }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  return items.map((_, index) => items[(index + by) % items.length] as T)
}

function summarise(size: number, samplesOf: (name: CaseName) => readonly Sample[]): Measurement[] {
  const proxy = median(samplesOf('nginx-proxy').map((sample) => sample.requestsPerSecond))
  return caseNames.map((name) => {
    const samples = samplesOf(name)
    const middle = (of: (sample: Sample) => number): number => median(samples.map(of))
    const sum = (of: (sample: Sample) => number): number => samples.reduce((total, sample) => total + of(sample), 0)
    const requestsPerSecond = middle((sample) => sample.requestsPerSecond)
    const measured = {
      name,
      size,
      requestsPerSecond,
      bytesPerSecond: middle((sample) => sample.bytesPerSecond),
      p50: middle((sample) => sample.p50),
      p99: middle((sample) => sample.p99),
      max: Math.max(...samples.map((sample) => sample.max)),
      requests: sum((sample) => sample.requests),
      ratio: requestsPerSecond / proxy,
      errors: sum(errorsOf),
    }
    if (samples.some((sample) => sample.gatewayCpuSeconds === undefined)) return measured
    // Of all rounds together: the clock that it is read from has steps of 10 ms.
    return {
      ...measured,
      gatewayCpuPerGigabyte: sum((sample) => sample.gatewayCpuSeconds ?? 0) / (sum((s) => s.bytes) / 1e9),
    }
  })
}

function errorsOf({ socketErrors, non2xx }: Sample): number {
  return socketErrors.connect + socketErrors.read + socketErrors.write + socketErrors.timeout + non2xx
}
