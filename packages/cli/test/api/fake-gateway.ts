import { type FlowCounters, FlowKey, type HandoffOutcome, type ListedRule, MacAddress } from '@xoffload/core'
import type {
  FlowView,
  GatewayCounts,
  GatewayEvent,
  GatewayOperations,
  HandoffView,
  ServerView,
} from '../../src/gateway/operations.ts'
import { OrderError } from '../../src/gateway/order-error.ts'

const template = FlowKey.of({ address: '10.0.0.0', port: 40_000 }, { address: '198.51.100.1', port: 80 }).bytes

/** The flow of the client with this number, which is in the last bytes of its address. */
export function flowOf(number: number): FlowKey {
  const bytes = template.slice()
  new DataView(bytes.buffer).setUint32(12, 0x0a000000 + number)
  return FlowKey.from(bytes)
}

export const firstFlow = '10.0.0.0:40000-198.51.100.1:80'

const counters: FlowCounters = { packets: 3n, bytes: 198n, egressPackets: 1n, lastSeen: 1_500_000_000n }
const moved: HandoffOutcome = { result: 'handed-off', handoff: 7, times: { lock: 12, commit: 400.6, total: 900 } }

/** A gateway of which a test decides everything: servers s1 and s2, and a number of flows that alternate between them. */
export class FakeGateway implements GatewayOperations {
  readonly name = 'gateway'
  readonly orders: string[] = []
  readonly listeners = new Set<(event: GatewayEvent) => void>()
  list: ServerView[] = [
    { name: 's1', up: true, draining: false, connections: 2 },
    { name: 's2', up: false, draining: false, connections: 1 },
  ]
  past: HandoffView[] = []
  /** How many flows have been taken out of {@link flows} or {@link rules}. */
  taken = 0
  /** Readers of {@link flows} or {@link rules} that have neither come to the end nor said that they will not. */
  reading = 0
  /** Called for each order; what it throws refuses the order. */
  refuse: () => void = () => {}
  /** What comes of a move. */
  outcome: (signal: AbortSignal | undefined) => Promise<HandoffOutcome> = async () => moved
  /** Called for each rule that is listed. */
  onRule: (number: number) => void = () => {}
  readonly #size: number

  constructor({ flows = 3 }: { flows?: number } = {}) {
    this.#size = flows
  }

  servers(): readonly ServerView[] {
    return this.list
  }

  *flows(): Iterable<FlowView> {
    this.reading++
    try {
      for (let number = 0; number < this.#size; number++) {
        this.taken++
        yield this.#view(number)
      }
    } finally {
      this.reading--
    }
  }

  flow(flow: FlowKey): FlowView | undefined {
    for (let number = 0; number < this.#size; number++) if (flowOf(number).equals(flow)) return this.#view(number)
    return undefined
  }

  async *rules(): AsyncIterable<ListedRule> {
    this.reading++
    try {
      for (let number = 0; number < this.#size; number++) {
        this.taken++
        this.onRule(number)
        const flow = flowOf(number)
        if (number % 2 === 1) yield { rule: { action: 'hold', flow }, counters: { ...counters, lastSeen: 0n } }
        else
          yield {
            rule: { action: 'steer', flow, target: { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') } },
            counters,
          }
      }
    } finally {
      this.reading--
    }
  }

  async counters(flow: FlowKey): Promise<FlowCounters | undefined> {
    return flow.equals(flowOf(0)) ? counters : undefined
  }

  handoffs(): readonly HandoffView[] {
    return this.past
  }

  counts(): GatewayCounts {
    return {
      handoffs: [
        { direction: 'gateway-to-server', result: 'handed-off', count: 5 },
        { direction: 'server-to-server', result: 'rolled-back', count: 1 },
      ],
      accepted: 10,
      relayed: 4,
      heldPackets: 30,
      droppedHeldPackets: 2,
      mendedRules: 1,
    }
  }

  watch(listener: (event: GatewayEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  emit(event: GatewayEvent): void {
    for (const listener of this.listeners) listener(event)
  }

  drain(server: string): void {
    this.#order(`drain ${server}`, server)
    this.#change(server, { draining: true })
  }

  undrain(server: string): void {
    this.#order(`undrain ${server}`, server)
    this.#change(server, { draining: false })
  }

  rebalance(): number {
    this.#order('rebalance')
    return 12
  }

  move(flow: FlowKey, server: string, signal?: AbortSignal): Promise<HandoffOutcome> {
    this.#order(`move ${flow} ${server}`, server)
    return this.outcome(signal)
  }

  /** Sets how many connections a server has. */
  connections(server: string, connections: number): void {
    this.#change(server, { connections })
  }

  #change(name: string, change: Partial<ServerView>): void {
    this.list = this.list.map((server) => (server.name === name ? { ...server, ...change } : server))
  }

  #order(text: string, server?: string): void {
    this.refuse()
    if (server !== undefined && !this.list.some(({ name }) => name === server)) {
      throw new OrderError('unknown-server', `no server ${server} is configured`)
    }
    this.orders.push(text)
  }

  #view(number: number): FlowView {
    const state = number % 3 === 2 ? 'ended' : 'steered'
    return { flow: flowOf(number), server: number % 2 === 0 ? 's1' : 's2', state, age: 1500.5, moves: 1 }
  }
}

/** A handoff that is over. */
export function handoff(number: number, outcome: HandoffOutcome = moved): HandoffView {
  const at = Date.UTC(2026, 0, 1)
  return { at, flow: flowOf(number), direction: 'gateway-to-server', from: 'gateway', to: 's1', outcome }
}
