import { join } from 'node:path'
import { Random } from '@xoffload/core/simulation'
import { ports } from '../deployment/configuration.ts'
import type { HostProcess } from '../host-process.ts'
import type { ClientOptions, ClientReport } from './client.ts'
import { type Failure, Failures } from './failures.ts'
import { History } from './history.ts'
import { type Installation, install } from './installation.ts'
import { leftovers, whatIsLeft } from './leftovers.ts'
import { Operator, type OperatorCounts } from './operator.ts'

export interface SoakOptions {
  /** How many handoffs are to succeed. */
  readonly handoffs: number
  /** Faults, clients and operator follow from it; what the kernel makes of them does not. */
  readonly seed: number
  /** Client connections at once. */
  readonly connections: number
  /** The longest that it may take, in seconds. */
  readonly seconds: number
  /** Breaks something when a quarter of the handoffs have happened: for a test that shows that it is noticed. */
  readonly sabotage?: (installation: Installation) => Promise<void>
  /** Called now and then with the handoffs so far. */
  readonly onProgress?: (handoffs: number, seconds: number) => void
}

/** What a soak has shown. */
export interface SoakResult {
  readonly seed: number
  readonly seconds: number
  /** Numbers by direction and outcome, such as `server-to-server handed-off`. */
  readonly handoffs: ReadonlyMap<string, number>
  /** Why handoffs did not succeed, with numbers. */
  readonly reasons: ReadonlyMap<string, number>
  /** Whole handoffs that succeeded, microseconds, ascending. */
  readonly times: readonly number[]
  readonly clients: ClientReport
  readonly orders: OperatorCounts
  /** Responses that one server began and another one continued. */
  readonly resumed: number
  /** Frames that links have lost, duplicated and reordered. */
  readonly faults: { readonly lost: number; readonly duplicated: number; readonly reordered: number }
  readonly failures: readonly Failure[]
  /** Everything else that is wrong, in words. */
  readonly problems: readonly string[]
}

/** How often it is looked whether there have been enough handoffs, in milliseconds. */
const LOOK_INTERVAL = 100
const PROGRESS_INTERVAL = 5
/** How long the clients' connections may take to end, in milliseconds. */
const STOP_TIMEOUT = 60_000
/** After so many failures nothing new is learnt. */
const MAXIMUM_FAILURES = 20
const client = join(import.meta.dir, 'client.ts')

/** Moves connections in all directions over bad links, under load, and looks at every byte. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  await using installation = await install(options.seed)
  const { gateway, servers, serverNames, api } = installation
  const before = leftovers(installation)
  const history = new History([gateway, ...servers])
  const operator = new Operator(api, serverNames, new Random(options.seed))
  const clients = startClients(installation, options)
  const failures = new Failures(clients, installation, history, MAXIMUM_FAILURES)
  operator.start()
  const seconds = await load(options, installation, clients, history, failures)
  await operator.stop()
  clients.signal('SIGTERM')
  const report: ClientReport = JSON.parse(await clients.line(/^\{"connections"/, { timeout: STOP_TIMEOUT }))
  const examined = await failures.all()
  const problems = [...history.problems, ...operator.failures, ...(await whatIsLeft(installation, before))]
  if (history.succeeded < options.handoffs)
    problems.push(`only ${history.succeeded} handoffs in ${seconds.toFixed(0)} s`)
  if (report.violations > examined.length) problems.push(`${report.violations} client connections were not right`)
  for (const { stderr } of [gateway, ...servers]) if (stderr.text !== '') problems.push(stderr.text)
  return {
    seed: options.seed,
    seconds,
    handoffs: history.handoffs,
    reasons: history.reasons,
    times: history.times.toSorted((a, b) => a - b),
    clients: report,
    orders: operator.counts,
    resumed: history.resumed,
    faults: faultsOf(installation),
    failures: examined,
    problems,
  }
}

/** Resolves when there have been enough handoffs or failures, or the time is over, with the seconds that it took. */
async function load(
  { handoffs, seconds: longest, sabotage, onProgress }: SoakOptions,
  installation: Installation,
  clients: HostProcess,
  history: History,
  failures: Failures,
): Promise<number> {
  const { gateway, servers } = installation
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  let reportAt = PROGRESS_INTERVAL
  let due = sabotage
  while (history.succeeded < handoffs && seconds() < longest && !failures.full) {
    for (const program of [clients, gateway, ...servers]) program.assertRunning()
    await Bun.sleep(LOOK_INTERVAL)
    if (due !== undefined && history.succeeded >= handoffs / 4) {
      await due(installation)
      due = undefined
    }
    if (seconds() < reportAt) continue
    reportAt += PROGRESS_INTERVAL
    onProgress?.(history.succeeded, seconds())
  }
  return seconds()
}

function startClients({ testbed }: Installation, { connections, seed }: SoakOptions): HostProcess {
  const { service } = testbed
  if (service === undefined) throw new Error('the testbed has no service address')
  const options: ClientOptions = { addresses: [service.ipv4, service.ipv6], port: ports.service, connections, seed }
  return testbed.host('client').spawn([process.execPath, client, JSON.stringify(options)])
}

function faultsOf({ faults }: Installation): SoakResult['faults'] {
  const counters = [...faults.values()].flatMap((link) => Object.values(link.counters()))
  const sum = (kind: 'lost' | 'duplicated' | 'reordered') => counters.reduce((total, each) => total + each[kind], 0)
  return { lost: sum('lost'), duplicated: sum('duplicated'), reordered: sum('reordered') }
}
