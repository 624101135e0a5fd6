import {
  Configuration,
  editConfiguration,
  type Figure,
  type HostProcess,
  median,
  nginxProxy,
  ports,
  printFigure,
  startGateway,
  startServer,
  Testbed,
  TestbedError,
  type WrkResult,
  wrk,
} from '@xoffload/testbed'
import type { BenchOptions } from './main.ts'

/**
 * What it costs that connections move: throughput when each moves on to the next of four servers after every 1, 10 and 100 requests, and
 * never, by size of the response, beside nginx as a proxy. The cases take turns, so all meet the same disturbance.
 */

/** After how many requests a connection moves; `never` after its first handoff. */
const EVERY = [1, 10, 100, 'never'] as const
const SERVERS = ['server1', 'server2', 'server3', 'server4']
const SIZES = [4096, 65_536, 262_144, 1_048_576, 4_194_304]
const ROUNDS = 3
/** Of each measurement. */
const SECONDS = 2
const CONNECTIONS = 32
const THREADS = 2

interface Case {
  readonly name: string
  readonly figure: { readonly case: string; readonly every?: number | 'never' }
  readonly testbed: Testbed
  /** Where the service is; paths are appended. */
  readonly url: string
  readonly programs: readonly HostProcess[]
}

/** The rounds of each case, by its name. */
type Results = ReadonlyMap<string, WrkResult[]>

/** Measures and prints. Needs root, nginx and wrk. */
export async function run({ json }: BenchOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const cases: Case[] = []
  for (const every of EVERY) cases.push(...(await install(stack, every)))
  const wins: number[] = []
  for (const size of SIZES) {
    const results = await measure(cases, size)
    for (const figure of report(cases, size, results)) printFigure(figure, json)
    if (middle(results, 'every 1', rate) > middle(results, 'nginx-proxy', rate)) wins.push(size)
  }
  console.error(
    wins.length === 0
      ? 'moving at every request is slower than the proxy at all sizes'
      : `moving at every request is faster than the proxy at ${wins.join(', ')} bytes`,
  )
}

async function install(stack: AsyncDisposableStack, every: number | 'never'): Promise<Case[]> {
  const testbed = await Testbed.create({
    hosts: ['client', 'gateway', 'proxy', ...SERVERS],
    service: { host: 'gateway' },
  })
  stack.use(testbed)
  const { service } = testbed
  if (service === undefined) throw new TestbedError('the testbed has no service address')
  const gatewayHost = testbed.host('gateway')
  const hosts = SERVERS.map((name) => testbed.host(name))
  const configuration = await Configuration.create(gatewayHost, hosts, service)
  const programs = await Promise.all(
    hosts.map(async (host) => {
      const file = await configuration.serverFile(host)
      if (every !== 'never') editConfiguration(file, (config) => Object.assign(config, { moves: { requests: every } }))
      return startServer(host, configuration, file)
    }),
  )
  const gateway = await startGateway(gatewayHost, hosts, configuration)
  const moving = {
    name: `every ${every}`,
    figure: { case: 'xoffload', every },
    testbed,
    url: `http://${service.ipv4}`,
    programs: [gateway, ...programs],
  }
  if (every !== 'never') return [moving]
  const listen = { address: testbed.host('proxy').ipv4, port: ports.proxy }
  const upstreams = hosts.map((host) => ({ address: host.ipv4, port: ports.application }))
  const proxy = await nginxProxy(testbed.host('proxy'), { listen: [listen], upstreams })
  const figure = { case: 'nginx-proxy' }
  return [
    moving,
    {
      name: 'nginx-proxy',
      figure,
      testbed,
      url: `http://${listen.address}:${listen.port}`,
      programs: [proxy, ...programs],
    },
  ]
}

async function measure(cases: readonly Case[], size: number): Promise<Results> {
  const results = new Map<string, WrkResult[]>(cases.map(({ name }) => [name, []]))
  // The first round warms the programs up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, testbed, url, programs } of cases) {
      for (const program of programs) program.assertRunning()
      const result = await wrk(testbed.host('client'), {
        url: `${url}/bytes/${size}`,
        duration: round === 0 ? 1 : SECONDS,
        connections: CONNECTIONS,
        threads: THREADS,
      })
      const { connect, read, write, timeout } = result.socketErrors
      if (connect + read + write + timeout + result.non2xx > 0) {
        throw new TestbedError(`requests failed with ${name} at ${size} bytes: ${JSON.stringify(result)}`)
      }
      if (round > 0) results.get(name)?.push(result)
      console.error(
        `requests, ${size} bytes, round ${round} of ${ROUNDS}, ${name}: ${result.requestsPerSecond.toFixed(0)}/s`,
      )
    }
  }
  return results
}

const rate = ({ requestsPerSecond }: WrkResult): number => requestsPerSecond

/** The median of a case's rounds. */
function middle(results: Results, name: string, of: (result: WrkResult) => number): number {
  return median((results.get(name) ?? []).map(of))
}

function* report(cases: readonly Case[], size: number, results: Results): Generator<Figure> {
  const proxy = middle(results, 'nginx-proxy', rate)
  for (const { name, figure } of cases) {
    const common = { bench: 'requests', ...figure, size, connections: CONNECTIONS }
    const value = middle(results, name, rate)
    const compared = name === 'nginx-proxy' ? {} : { ratio: value / proxy, to: 'nginx-proxy' }
    yield { ...common, metric: 'requests_per_s', unit: '1/s', value, n: ROUNDS, ...compared }
    const p50 = middle(results, name, (result) => result.p50)
    yield {
      ...common,
      metric: 'latency',
      unit: 'us',
      value: p50,
      p50,
      p99: middle(results, name, (result) => result.p99),
      n: ROUNDS,
    }
  }
}
