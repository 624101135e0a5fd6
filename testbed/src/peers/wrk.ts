import { join } from 'node:path'
import type { Endpoint } from '@xoffload/core'
import { TestbedError } from '../errors.ts'
import type { Host } from '../host.ts'
import { tool } from '../tools.ts'

export interface WrkOptions {
  readonly url: string
  /** Whole seconds, at least 1. */
  readonly duration: number
  /** Connections that are kept open, each with one request at a time. */
  readonly connections: number
  /** Default 1. Not more than connections. */
  readonly threads?: number
  /** Seconds after which wrk counts a request as timed out. Default 2, as wrk's. */
  readonly timeout?: number
  readonly headers?: Readonly<Record<string, string>>
  /**
   * Where the threads connect to, in turn, instead of the address in `url`; at least as many threads as addresses. `url` still says what
   * is asked for, and something must listen there too, because wrk tries it first.
   */
  readonly addresses?: readonly Endpoint[]
}

/** What wrk measured. Times are in microseconds. */
export interface WrkResult {
  readonly requests: number
  /** Of responses, with their heads. */
  readonly bytes: number
  /** Microseconds. */
  readonly duration: number
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
  readonly socketErrors: {
    readonly connect: number
    readonly read: number
    readonly write: number
    readonly timeout: number
  }
  /** Responses with a status of 400 and above. */
  readonly non2xx: number
  /** CPU seconds of wrk itself. */
  readonly cpuSeconds: number
}

const reportScript = join(import.meta.dir, 'wrk-report.lua')

/** The numbers that wrk-report.lua prints. */
const reported = [
  'requests',
  'bytes',
  'duration',
  'p50',
  'p90',
  'p99',
  'max',
  'connectErrors',
  'readErrors',
  'writeErrors',
  'timeouts',
  'non2xx',
] as const
type Report = Record<(typeof reported)[number], number>

/** Runs wrk (github.com/wg/wrk) on the host to its end. Throws {@link CommandError} when it fails, as when nothing listens. */
export async function wrk(host: Host, options: WrkOptions): Promise<WrkResult> {
  const threads = options.threads ?? 1
  const headers = Object.entries(options.headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const addresses = (options.addresses ?? []).map(({ address, port }) => `${address} ${port}`)
  const command = [
    tool('wrk'),
    ...['-t', `${threads}`, '-c', `${options.connections}`, '-d', `${options.duration}s`, '-s', reportScript],
    ...['--timeout', `${options.timeout ?? 2}s`],
    ...headers,
    options.url,
  ] as const
  const load = host.spawn(command, { env: { XOFFLOAD_WRK_ADDRESSES: addresses.join(',') } })
  const timer = setTimeout(() => load.signal('SIGKILL'), (options.duration + 10) * 1_000)
  const exitCode = await load.exited
  clearTimeout(timer)
  if (exitCode !== 0) throw load.failure(load.exitReason)
  return { ...figures(parseReport(load.stdout.text)), cpuSeconds: load.cpuSeconds() }
}

function figures(report: Report): Omit<WrkResult, 'cpuSeconds'> {
  const { requests, bytes, duration, p50, p90, p99, max, non2xx } = report
  return {
    ...{ requests, bytes, duration, p50, p90, p99, max, non2xx },
    requestsPerSecond: (requests * 1e6) / duration,
    bytesPerSecond: (bytes * 1e6) / duration,
    socketErrors: {
      connect: report.connectErrors,
      read: report.readErrors,
      write: report.writeErrors,
      timeout: report.timeouts,
    },
  }
}

function parseReport(output: string): Report {
  const line = output.split('\n').find((each) => each.startsWith('{'))
  if (line === undefined) throw new TestbedError(`wrk printed no report, but: ${output.slice(-500)}`)
  const report: Partial<Report> = JSON.parse(line)
  const missing = reported.filter((name) => typeof report[name] !== 'number')
  if (missing.length > 0) throw new TestbedError(`wrk's report lacks ${missing.join(', ')}: ${line}`)
  return report as Report
}
