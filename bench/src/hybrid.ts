/**
 * `npm run bench -- hybrid [--json]`: what it is worth that a connection does not wait for the NIC. Lasting connections ask for short and
 * long responses, and are held and steered anew before each, as when they move. The NIC is a model: a second tc program, whose rules
 * become active after the time that XO has measured for the NIC, one at a time. So nothing is forwarded faster by it; what is compared is
 * what rules cost those who wait for them, and how many bytes the NIC would take over.
 */
import { type Clock, DEFAULT_RULE_QUEUE_LIMITS, type HybridStatistics } from '@xoffload/core'
import { NIC_PROFILES, type NicProfile } from '@xoffload/core/simulation'
import { type Figure, type Host, median, percentile, printFigure, Testbed, TestbedError } from '@xoffload/testbed'
import { measureScan } from './hybrid-scan.ts'
import { hardwareOnly, hybrid, type OpenSubject, softwareOnly, WORTH_HARDWARE } from './hybrid-subjects.ts'
import { type Mixture, Traffic, type TrafficResult } from './hybrid-traffic.ts'
import type { BenchOptions } from './main.ts'
import { PreciseClock } from './precise-clock.ts'

/** As many as there are cases, or a multiple: then each case has had each turn equally often. */
const ROUNDS = 14
/** Of each measurement, in milliseconds. */
const DURATION = 600
const PORT = 9000
const MIXTURE: Mixture = { clients: 32, short: 4096, long: 4 * WORTH_HARDWARE, longEvery: 100, pause: 0.5 }
/** How much more throughput the hybrid has than hardware alone, at least (XO, with Ceph). */
const BAR = 1.17

interface Case {
  readonly name: 'software' | 'hardware' | 'hybrid'
  readonly nic?: NicProfile
  readonly open: (gateway: Host, nicClock: Clock) => Promise<OpenSubject>
}

interface Sample extends TrafficResult {
  readonly statistics?: HybridStatistics
}

const timers: Clock = {
  now: () => Bun.nanoseconds() / 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}

const CASES: readonly Case[] = [
  { name: 'software', open: softwareOnly },
  ...Object.values(NIC_PROFILES).flatMap((nic): Case[] => [
    { name: 'hardware', nic, open: (gateway, clock) => hardwareOnly(gateway, nic, clock) },
    { name: 'hybrid', nic, open: (gateway, clock) => hybrid(gateway, nic, clock, timers) },
  ]),
]

/** Measures and prints. Needs root. */
export async function run({ json }: BenchOptions): Promise<void> {
  // Not the gateway's own address: its stack must not answer when nobody steers a packet.
  await using testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server'], service: { host: 'server' } })
  const { service } = testbed
  if (service === undefined) throw new TestbedError('the testbed has no service address')
  const [client, gateway, server] = ['client', 'gateway', 'server'].map((name) => testbed.host(name)) as [
    Host,
    Host,
    Host,
  ]
  const program = new URL('hybrid-server.ts', import.meta.url).pathname
  await server.spawn([process.execPath, program, `${PORT}`]).line(/listening/, { timeout: 10_000 })
  using nicClock = await PreciseClock.start()
  {
    const place = { client, gateway, server, service: service.ipv4, port: PORT }
    await using traffic = await Traffic.start(place, MIXTURE)
    const samples = await measure(traffic, gateway, nicClock)
    for (const figure of report(samples)) printFigure(figure, json)
  }
  for (const figure of await measureScan(gateway, timers)) printFigure(figure, json)
}

/** The cases take turns, so all meet the same disturbance. */
async function measure(traffic: Traffic, gateway: Host, nicClock: Clock): Promise<Map<Case, Sample[]>> {
  const samples = new Map<Case, Sample[]>(CASES.map((each) => [each, []]))
  // The first round warms the compilers up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    // Each case is first, second, … as often as any other.
    const turns = CASES.map((_, index) => CASES[(index + round) % CASES.length] as Case)
    for (const each of turns) {
      await using subject = await each.open(gateway, nicClock)
      await traffic.hold(subject.table)
      const result = await traffic.run(subject, round === 0 ? DURATION / 2 : DURATION)
      const statistics = subject.statistics?.()
      if (round > 0) samples.get(each)?.push({ ...result, ...(statistics && { statistics }) })
      const rate = (result.bytes / result.seconds / 1e6).toFixed(0)
      console.error(`hybrid, round ${round} of ${ROUNDS}, ${each.name} ${each.nic?.name ?? ''}: ${rate} MB/s`)
    }
  }
  return samples
}

function* report(samples: Map<Case, Sample[]>): Generator<Figure> {
  const { clients, short, long, longEvery } = MIXTURE
  const parameters = { clients, short, long, long_every: longEvery }
  const compare = (one: Case, other: Case): number => ratio(samples.get(one) ?? [], samples.get(other) ?? [])
  for (const each of CASES) {
    const { name, nic } = each
    const own = samples.get(each) ?? []
    const common = { bench: 'hybrid', case: name, ...(nic && { nic: nic.name }), ...parameters }
    const bytes = median(own.map((sample) => sample.bytes / sample.seconds / 1e6))
    yield { ...common, metric: 'throughput', unit: 'MB/s', value: bytes, n: ROUNDS }
    const requests = {
      ...common,
      metric: 'requests_per_s',
      unit: '1/s',
      value: median(own.map(requestRate)),
      n: ROUNDS,
    }
    const others = name === 'hybrid' ? [caseOf('hardware', nic), caseOf('software')] : []
    if (others.length === 0) yield requests
    for (const other of others) yield { ...requests, ratio: compare(each, other), to: other.name }
    yield* details(common, own)
  }
  for (const nic of Object.values(NIC_PROFILES)) {
    const both = caseOf('hybrid', nic)
    const [gain, cost] = [caseOf('hardware', nic), caseOf('software')].map((other) => compare(both, other).toFixed(2))
    console.error(`${nic.name}: hybrid has ${gain} times the throughput of hardware alone (at least ${BAR} expected)`)
    console.error(`${nic.name}: hybrid has ${cost} times the throughput of software alone (1 expected)`)
  }
}

function caseOf(name: Case['name'], nic?: NicProfile): Case {
  return CASES.find((each) => each.name === name && each.nic === nic) as Case
}

/** All cases serve the same mixture, so requests compare like bytes, and are not as grainy. */
function requestRate({ requests, seconds }: Sample): number {
  return requests / seconds
}

/** The machine has better and worse times: so each measurement is compared with the one of its own round. */
function ratio(one: readonly Sample[], other: readonly Sample[]): number {
  return median(one.map((sample, round) => requestRate(sample) / requestRate(other[round] as Sample)))
}

function* details(common: Pick<Figure, 'bench' | 'case'>, samples: readonly Sample[]): Generator<Figure> {
  const latency = Float64Array.from(samples.flatMap(({ ruleLatency }) => ruleLatency)).sort()
  const [p50, p99, max] = [0.5, 0.99, 1].map((fraction) => percentile(latency, fraction)) as [number, number, number]
  yield { ...common, metric: 'rule_latency', unit: 'us', value: p50, p50, p99, max, n: latency.length }
  if (common.case === 'software') return
  const shares = samples.map(({ forwarded, inSoftware }) => (100 * (forwarded - inSoftware)) / forwarded)
  yield { ...common, metric: 'hardware_share', unit: '%', value: median(shares), n: samples.length }
  const statistics = samples.flatMap((sample) => sample.statistics ?? [])
  if (statistics.length === 0) return
  const middle = (of: (each: HybridStatistics) => number): number => median(statistics.map(of))
  yield { ...common, metric: 'promoted', unit: '1', value: middle((each) => each.promoted), n: statistics.length }
  for (const state of ['waiting', 'executing', 'installed'] as const) {
    const value = middle(({ queue }) => queue.cancelled[state])
    yield { ...common, metric: 'cancelled', state, unit: '1', value, n: statistics.length }
  }
  const { insertion, removal } = DEFAULT_RULE_QUEUE_LIMITS
  for (const [metric, bound, of] of [
    ['insertion_wait', insertion, ({ queue }: HybridStatistics) => queue.insertionWait],
    ['removal_wait', removal, ({ queue }: HybridStatistics) => queue.removalWait],
  ] as const) {
    const waits = { p50: middle((each) => of(each).p50), p99: middle((each) => of(each).p99) }
    const longest = Math.max(...statistics.map((each) => of(each).max))
    const n = statistics.reduce((sum, each) => sum + of(each).count, 0)
    yield { ...common, metric, unit: 'us', value: waits.p99, ...waits, max: longest, bound: bound * 1000, n }
  }
}
