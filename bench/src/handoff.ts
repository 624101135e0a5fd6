/**
 * `npm run bench -- handoff [--json] [--connections N]`: how long a handoff takes, step by step, and how many there are in a second.
 * Real connections through a real gateway to two real servers; every client connection is handed off once.
 */
import { parseArgs } from 'node:util'
import { XoffloadError } from '@xoffload/core'
import {
  Configuration,
  type ConnectReport,
  type HandoffRecord,
  type Host,
  type HostProcess,
  parseHandoff,
  percentile,
  printFigure,
  startConnectClient,
  startGateway,
  startServer,
  Testbed,
} from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'

const IN_FLIGHT = [1, 64] as const
/** The order in which the steps happen. `restore` is a part of `offer`, and `adopt` of `commit`. */
const STEPS = ['lock', 'freeze', 'snapshot', 'silence', 'offer', 'restore', 'steer', 'commit', 'adopt', 'total']
const MAXIMUM_CONNECTIONS = 1_000_000
/** Connections before the first figure. JavaScriptCore compiles hot code for good after thousands of calls: a gateway that serves is past that. */
const WARM_UP = 5000
/** How long the gateway's last records may take after the client is done, in milliseconds. */
const LOG_TIMEOUT = 10_000

export async function run({ json, args }: BenchOptions): Promise<void> {
  const total = requestedConnections(args)
  await using testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server1', 'server2'], service: {} })
  const { service } = testbed
  if (service === undefined) throw new Error('the testbed has no service address')
  const servers = [testbed.host('server1'), testbed.host('server2')]
  const configuration = await Configuration.create(testbed.host('gateway'), servers, service)
  for (const server of servers) await startServer(server, configuration)
  const gateway = await startGateway(testbed.host('gateway'), servers, configuration)
  // With half of its ports in TIME_WAIT a client looks for a free one longer than a handoff takes (__inet_hash_connect).
  const morePorts = 'echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range'
  await testbed.host('client').run(['sh', '-c', morePorts])
  await measure(gateway, testbed.host('client'), service.ipv4, WARM_UP, 8)
  for (const inFlight of IN_FLIGHT) {
    const connections = inFlight === 1 ? Math.ceil(total / 5) : total
    const { records, report } = await measure(gateway, testbed.host('client'), service.ipv4, connections, inFlight)
    print(records, report, inFlight, json)
  }
}

function requestedConnections(args: string[]): number {
  const { values } = parseArgs({ args, options: { connections: { type: 'string', default: '10000' } } })
  const number = Number(values.connections)
  if (!/^\d+$/.test(values.connections) || number < 1 || number > MAXIMUM_CONNECTIONS) {
    const expected = `--connections takes a whole number from 1 to ${MAXIMUM_CONNECTIONS}`
    throw new XoffloadError('BENCH_OPTION', `${expected}, found "${values.connections}"`)
  }
  return number
}

/** Opens connections and collects the gateway's records of their handoffs. */
async function measure(gateway: HostProcess, host: Host, address: string, connections: number, inFlight: number) {
  const records: HandoffRecord[] = []
  const all = Promise.withResolvers<void>()
  const stop = gateway.stdout.onLine((line) => {
    const record = parseHandoff(line)
    if (record !== undefined && records.push(record) === connections) all.resolve()
  })
  const program = startConnectClient(host, address, connections, inFlight)
  const report: ConnectReport = JSON.parse(await program.line(/"completed"/, { timeout: 120_000 }))
  // The gateway drops lines of its log when they are read too slowly, and then the last record never comes.
  const late = setTimeout(() => {
    all.reject(gateway.failure(`logged ${records.length} handoffs of ${connections} connections`))
  }, LOG_TIMEOUT)
  await Promise.race([all.promise, gateway.exited.then(() => Promise.reject(gateway.failure(gateway.exitReason)))])
  clearTimeout(late)
  stop()
  const failed = records.filter(({ outcome }) => outcome !== 'handed-off')
  if (report.failures.length > 0 || failed.length > 0) {
    throw new Error(
      `${failed.length} handoffs and ${report.failures.length} requests failed: ${report.failures[0] ?? JSON.stringify(failed[0])}`,
    )
  }
  return { records, report }
}

function print(records: readonly HandoffRecord[], report: ConnectReport, inFlight: number, json: boolean): void {
  for (const step of STEPS) {
    const samples = Float64Array.from(records, ({ steps }) => steps[step] ?? Number.NaN).sort()
    const p50 = percentile(samples, 0.5)
    const figure = {
      bench: 'handoff',
      case: 'gateway-to-server',
      metric: step,
      unit: 'us',
      value: p50,
      in_flight: inFlight,
    }
    printFigure(
      { ...figure, p50, p99: percentile(samples, 0.99), max: percentile(samples, 1), n: samples.length },
      json,
    )
  }
  const rate = report.completed / report.seconds
  printFigure(
    {
      bench: 'handoff',
      case: 'gateway-to-server',
      metric: 'handoffs_per_s',
      unit: '1/s',
      value: rate,
      in_flight: inFlight,
      n: report.completed,
    },
    json,
  )
}
