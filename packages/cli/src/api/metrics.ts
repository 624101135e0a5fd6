import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { GatewayEvent, GatewayOperations } from '../gateway/operations.ts'
import { addHardwareMetrics } from './hardware-metrics.ts'
import { nextTurn } from './next-turn.ts'
import { addProcessMetrics } from './process-metrics.ts'
import { FLOW_STATES } from './schemas.ts'
import { STEP_NAMES } from './steps.ts'

const MICROSECONDS = 1e-6

/** From a map update to the longest time limit, seconds. */
const STEP_BUCKETS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5,
]

/** How many flows are counted in one turn of the event loop. */
const BATCH = 256

/** The gateway's metrics in Prometheus' text format. */
export interface Metrics {
  /** The media type of the text. */
  readonly contentType: string
  text(): Promise<string>
  /** Takes the step times of handoffs. */
  observe(event: GatewayEvent): void
}

export function createMetrics(operations: GatewayOperations): Metrics {
  const registry = new Registry()
  addProcessMetrics(registry)
  addServerMetrics(registry, operations)
  addCounts(registry, operations)
  // What the redirector does not have is absent, not 0.
  if (operations.counts().hardware !== undefined) addHardwareMetrics(registry, () => operations.counts().hardware)
  const flows = new Gauge({
    name: 'xoffload_flows',
    help: 'Client connections that have a rule.',
    labelNames: ['server', 'state'],
    registers: [registry],
  })
  const steps = new Histogram({
    name: 'xoffload_handoff_step_seconds',
    help: 'How long the steps of handoffs took.',
    labelNames: ['direction', 'step'],
    buckets: STEP_BUCKETS,
    registers: [registry],
  })
  let inProgress: Promise<string> | undefined
  return {
    contentType: registry.contentType,
    // Readers that come at the same time share one count of all flows.
    text() {
      inProgress ??= countFlows(operations, flows)
        .then(() => registry.metrics())
        .finally(() => {
          inProgress = undefined
        })
      return inProgress
    },
    observe(event) {
      if (event.type !== 'handoff') return
      const { direction, outcome } = event.handoff
      for (const step of STEP_NAMES) {
        const time = outcome.times[step]
        if (time !== undefined) steps.observe({ direction, step }, time * MICROSECONDS)
      }
    },
  }
}

async function countFlows(operations: GatewayOperations, metric: Gauge): Promise<void> {
  const counts = new Map<string, Record<string, number>>()
  const of = (server: string) => {
    const found = counts.get(server) ?? Object.fromEntries(FLOW_STATES.map((state) => [state, 0]))
    counts.set(server, found)
    return found
  }
  for (const { name } of operations.servers()) of(name)
  let looked = 0
  for (const { server, state } of operations.flows()) {
    const found = of(server)
    found[state] = (found[state] ?? 0) + 1
    if (++looked % BATCH === 0) await nextTurn()
  }
  metric.reset()
  for (const [server, states] of counts) {
    for (const [state, count] of Object.entries(states)) metric.set({ server, state }, count)
  }
}

function addServerMetrics(registry: Registry, operations: GatewayOperations): void {
  const metrics = [
    ['xoffload_server_up', "Whether the server's control channel is connected.", 'up'],
    ['xoffload_server_draining', 'Whether the server is being drained.', 'draining'],
    ['xoffload_server_connections', 'Client connections that the server has.', 'connections'],
  ] as const
  for (const [name, help, key] of metrics) {
    new Gauge({
      name,
      help,
      labelNames: ['server'],
      registers: [registry],
      collect() {
        this.reset()
        for (const server of operations.servers()) this.set({ server: server.name }, Number(server[key]))
      },
    })
  }
}

function addCounts(registry: Registry, operations: GatewayOperations): void {
  new Counter({
    name: 'xoffload_handoffs_total',
    help: 'Handoffs that are over.',
    labelNames: ['direction', 'result'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { direction, result, count } of operations.counts().handoffs) this.inc({ direction, result }, count)
    },
  })
  const counts = [
    ['xoffload_accepted_connections_total', 'Client connections that were accepted.', 'accepted'],
    ['xoffload_relayed_connections_total', 'Client connections that were relayed.', 'relayed'],
    ['xoffload_held_packets_total', 'Packets of held flows that were stored.', 'heldPackets'],
    [
      'xoffload_held_packets_dropped_total',
      'Packets of held flows that were discarded because the store was full.',
      'droppedHeldPackets',
    ],
    [
      'xoffload_mended_rules_total',
      'Rules that no connection justified and that were removed or set right.',
      'mendedRules',
    ],
  ] as const
  for (const [name, help, key] of counts) {
    // What the redirector does not count is absent, not 0.
    if (operations.counts()[key] === undefined) continue
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(operations.counts()[key] ?? 0)
      },
    })
  }
}
