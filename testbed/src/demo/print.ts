import pc from 'picocolors'
import { printFigure } from '../figures.ts'
import type { FirstResponse } from './first-response.ts'
import type { CaseName } from './installation.ts'
import { type Measurement, rounds } from './measurement.ts'
import type { DemoOptions } from './options.ts'

/** Prints the response that came through a handoff, and its steps. */
export function printFirstResponse(response: FirstResponse): void {
  const { handoff } = response
  console.log(`${pc.dim('client $')} curl ${response.url}`)
  console.log(
    `HTTP ${response.status}, ${bytes(response.bytes)} in ${microseconds(response.microseconds)}, served by ${pc.bold(response.servedBy)}`,
  )
  console.log(`The gateway handed the connection ${handoff.flow} to ${pc.bold(handoff.server)} (${handoff.outcome}):`)
  for (const [step, time] of steps(response)) console.log(`  ${step.padEnd(10)}${microseconds(time).padStart(10)}`)
  console.log()
}

/** The same as figures. */
export function printFirstResponseFigures(response: FirstResponse): void {
  const common = { bench: 'demo', case: 'xoffload', unit: 'us', server: response.servedBy, size: response.bytes, n: 1 }
  printFigure({ ...common, metric: 'first_response', value: response.microseconds })
  for (const [step, value] of steps(response)) printFigure({ ...common, metric: 'handoff', step, value })
}

function steps({ handoff }: FirstResponse): [string, number][] {
  const { total, ...parts } = handoff.steps
  return [...Object.entries(parts), ...(total === undefined ? [] : [['total', total] as [string, number]])]
}

const titles: Readonly<Record<CaseName, string>> = {
  'nginx-proxy': 'nginx proxy',
  xoffload: 'xoffload',
  direct: 'one server, direct',
}

/** Prints all measurements as one table. */
export function printTable(measurements: readonly Measurement[], options: DemoOptions): void {
  const head = ['response', 'case', 'requests/s', 'bytes/s', 'p50', 'p99', 'gateway CPU/GB', 'ratio']
  const rows = measurements.map((each, index) => [
    measurements[index - 1]?.size === each.size ? '' : bytes(each.size),
    titles[each.name],
    Math.round(each.requestsPerSecond).toLocaleString('en'),
    `${decimal(each.bytesPerSecond / 1e6)} MB/s`,
    microseconds(each.p50),
    microseconds(each.p99),
    each.gatewayCpuPerGigabyte === undefined ? '' : `${each.gatewayCpuPerGigabyte.toFixed(3)} s`,
    `${each.ratio.toFixed(2)} x`,
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
  console.log(pc.dim(line(head)))
  for (const [index, row] of rows.entries()) {
    if (index > 0 && row[0] !== '') console.log()
    console.log(measurements[index]?.name === 'xoffload' ? pc.bold(line(row)) : line(row))
  }
  console.log()
  console.log(
    pc.dim(
      `Medians of ${rounds} runs of ${options.seconds} s with ${options.connections} connections; ratio to the nginx proxy.`,
    ),
  )
  console.log(
    pc.dim(
      'Gateway CPU is that of its processes: what the kernel forwards for it in software interrupts is in no process.',
    ),
  )
}

/** Prints all measurements as figures. */
export function printFigures(measurements: readonly Measurement[], options: DemoOptions): void {
  for (const each of measurements) {
    const common = { bench: 'demo', case: each.name, size: each.size, connections: options.connections }
    const compared = each.name === 'nginx-proxy' ? {} : { ratio: each.ratio, to: 'nginx-proxy' }
    printFigure({
      ...common,
      metric: 'requests_per_s',
      unit: '1/s',
      value: each.requestsPerSecond,
      n: rounds,
      ...compared,
    })
    printFigure({ ...common, metric: 'bytes_per_s', unit: 'B/s', value: each.bytesPerSecond, n: rounds })
    const latency = { value: each.p50, p50: each.p50, p99: each.p99, max: each.max, n: each.requests }
    printFigure({ ...common, metric: 'latency', unit: 'us', ...latency })
    if (each.gatewayCpuPerGigabyte !== undefined) {
      printFigure({
        ...common,
        metric: 'gateway_cpu_s_per_gb',
        unit: 's/GB',
        value: each.gatewayCpuPerGigabyte,
        n: rounds,
      })
    }
    printFigure({ ...common, metric: 'errors', unit: '1', value: each.errors, n: each.requests })
  }
}

/** Binary units, as sizes of responses are given. */
export function bytes(count: number): string {
  if (count >= 1024 ** 2) return `${count / 1024 ** 2} MiB`
  return count >= 1024 ? `${count / 1024} KiB` : `${count} B`
}

function microseconds(value: number): string {
  return value < 10_000 ? `${Math.round(value).toLocaleString('en')} us` : `${decimal(value / 1000)} ms`
}

function decimal(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 1 : 0 })
}
