import { join } from 'node:path'
import type { Adapter } from '../../deployment/adopting-nginx.ts'
import { ports } from '../../deployment/configuration.ts'
import { History } from '../history.ts'
import type { ClientOptions, ClientReport } from './client.ts'
import { type AdoptionHosts, SERVERS, startAdoptionHosts } from './hosts.ts'
import { ALLOWED_DESCRIPTORS, type Sample, type Trend, trendsOf } from './trend.ts'
import { UsageProbe } from './usage.ts'

export interface AdoptionSoakOptions {
  readonly adapter: Adapter
  /** How many connections each server is to adopt. */
  readonly adoptions: number
  readonly seed: number
  /** Client connections at once. */
  readonly connections: number
  /** The longest that it may take, in seconds. */
  readonly seconds: number
  /** Called after each round with the adoptions of the server that has the fewest. */
  readonly onProgress?: (adoptions: number, seconds: number) => void
}

/** What a soak of adoptions has shown. */
export interface AdoptionSoakResult {
  readonly adapter: Adapter
  readonly seed: number
  readonly seconds: number
  /** Of the server that has the fewest. */
  readonly adoptions: number
  readonly connections: number
  readonly requests: number
  /** Memory and descriptors of each program while it has no connection. */
  readonly trends: readonly Trend[]
  /** Everything that is wrong, in words. */
  readonly problems: readonly string[]
}

/** After each round all connections end, and it is looked what the programs still have. */
const ROUNDS = 20
const LOOK_INTERVAL = 20
/** How long the clients' connections may take to end, in milliseconds. */
const STOP_TIMEOUT = 60_000
/** How long descriptors may take to be closed, in milliseconds: longer than what catches late packets stays. */
const SETTLE_TIMEOUT = 10_000
/** How long it is waited for the last few, which may be there to stay. */
const FEW_TIMEOUT = 1000
/** nginx's words about what is wrong. */
const COMPLAINT = /\[(warn|error|crit|alert|emerg)\]/
const client = join(import.meta.dir, 'client.ts')

/** Lets nginx adopt connections, give them back and end them, and looks whether what it and its agent hold stays the same. */
export async function soakAdoptions(options: AdoptionSoakOptions): Promise<AdoptionSoakResult> {
  await using hosts = await startAdoptionHosts(options.adapter)
  const history = new History([hosts.gateway, ...hosts.servers.map(({ agent }) => agent)])
  const problems = complaintsOf(hosts)
  const adoptions = () => Math.min(...SERVERS.map((name) => history.arrivals.get(name) ?? 0))
  const probe = new UsageProbe(hosts)
  const samples: Sample[] = []
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  let [connections, requests] = [0, 0]
  for (let round = 1; round <= ROUNDS && problems.length === 0 && seconds() < options.seconds; round++) {
    const isDone = () => adoptions() >= (options.adoptions * round) / ROUNDS || seconds() >= options.seconds
    const report = await visit(hosts, { ...options, seed: options.seed + round }, isDone)
    connections += report.connections
    requests += report.requests
    for (const each of report.violations) problems.push(`${each.client}: ${each.violation}`, ...history.of(each.client))
    await settled(probe, samples[0])
    samples.push({ adoptions: adoptions(), usage: await probe.look() })
    options.onProgress?.(adoptions(), seconds())
  }
  const trends = trendsOf(samples)
  problems.push(...history.problems, ...trends.flatMap(({ problem }) => problem ?? []), ...wordsOf(hosts))
  if (adoptions() < options.adoptions) problems.push(`only ${adoptions()} adoptions in ${seconds().toFixed(0)} s`)
  const { adapter, seed } = options
  return { adapter, seed, seconds: seconds(), adoptions: adoptions(), connections, requests, trends, problems }
}

/** Clients come until it is enough. Resolves when all have gone. */
async function visit(
  { testbed, gateway, servers }: AdoptionHosts,
  { connections, seed }: AdoptionSoakOptions,
  isDone: () => boolean,
): Promise<ClientReport> {
  const { service } = testbed
  if (service === undefined) throw new Error('the testbed has no service address')
  const options: ClientOptions = { addresses: [service.ipv4, service.ipv6], port: ports.service, connections, seed }
  const clients = testbed.host('client').spawn([process.execPath, client, JSON.stringify(options)])
  // Before it would end by the signal without a word.
  await clients.line(/^ready$/)
  const programs = [clients, gateway, ...servers.flatMap(({ nginx, agent }) => [nginx, agent])]
  while (!isDone()) {
    for (const program of programs) program.assertRunning()
    await Bun.sleep(LOOK_INTERVAL)
  }
  clients.signal('SIGTERM')
  const report: ClientReport = JSON.parse(await clients.line(/^\{"connections"/, { timeout: STOP_TIMEOUT }))
  await clients.exited
  return report
}

/** Resolves as soon as there are no more descriptors than in the first sample, or after a while. */
async function settled(probe: UsageProbe, first: Sample | undefined): Promise<void> {
  if (first === undefined) return
  const startedAt = performance.now()
  const isMore = (allowed: number) =>
    [...probe.descriptors].some(([what, count]) => count > (first.usage.get(what)?.descriptors ?? 0) + allowed)
  const within = (milliseconds: number) => performance.now() - startedAt < milliseconds
  while ((within(FEW_TIMEOUT) && isMore(0)) || (within(SETTLE_TIMEOUT) && isMore(ALLOWED_DESCRIPTORS)))
    await Bun.sleep(LOOK_INTERVAL)
}

/** What nginx complains of from now on. */
function complaintsOf({ servers }: AdoptionHosts): string[] {
  const complaints: string[] = []
  for (const { nginx } of servers)
    nginx.stderr.onLine((line) => {
      if (COMPLAINT.test(line)) complaints.push(line)
    })
  return complaints
}

/** What the gateway and the agents have said besides their logs. */
function wordsOf({ gateway, servers }: AdoptionHosts): string[] {
  return [gateway, ...servers.map(({ agent }) => agent)].map(({ stderr }) => stderr.text).filter((text) => text !== '')
}
