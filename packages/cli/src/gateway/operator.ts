import type { FlowCounters, FlowKey, HandoffOutcome, HybridStatistics, ListedRule, Redirector } from '@xoffload/core'
import type { FlowEntry } from './flow-table.ts'
import type { Journal } from './journal.ts'
import type { Moves } from './moves.ts'
import type {
  FlowView,
  GatewayCounts,
  GatewayEvent,
  GatewayOperations,
  HandoffView,
  HeldPacketCounts,
  ServerView,
} from './operations.ts'
import { OrderError } from './order-error.ts'
import type { Server } from './server.ts'
import type { Steering } from './steering.ts'

/** What an {@link Operator} sees and acts on. */
export interface OperatorOptions {
  readonly name: string
  readonly servers: readonly Server[]
  readonly steering: Steering
  readonly moves: Moves
  readonly redirector: Redirector
  readonly journal: Journal
  /** What the redirector counts of held flows, when it does. */
  readonly heldPackets: (() => HeldPacketCounts) | undefined
  /** What the redirector counts of hardware, when it has any. */
  readonly hardware: (() => HybridStatistics | undefined) | undefined
}

/** {@link GatewayOperations} on what a gateway is made of. */
export class Operator implements GatewayOperations {
  readonly name: string
  readonly #servers: readonly Server[]
  readonly #steering: Steering
  readonly #moves: Moves
  readonly #redirector: Redirector
  readonly #journal: Journal
  readonly #heldPackets: OperatorOptions['heldPackets']
  readonly #hardware: OperatorOptions['hardware']

  constructor({ name, servers, steering, moves, redirector, journal, heldPackets, hardware }: OperatorOptions) {
    this.name = name
    this.#servers = servers
    this.#steering = steering
    this.#moves = moves
    this.#redirector = redirector
    this.#journal = journal
    this.#heldPackets = heldPackets
    this.#hardware = hardware
  }

  servers(): readonly ServerView[] {
    return this.#servers.map(({ name, up, draining, connections }) => ({ name, up, draining, connections }))
  }

  *flows(): Iterable<FlowView> {
    const now = performance.now()
    for (const entry of this.#steering.flows.values()) yield view(entry, now)
  }

  flow(flow: FlowKey): FlowView | undefined {
    const entry = this.#steering.flows.get(flow)
    return entry && view(entry, performance.now())
  }

  rules(): AsyncIterable<ListedRule> {
    return this.#redirector.list()
  }

  counters(flow: FlowKey): Promise<FlowCounters | undefined> {
    return this.#redirector.counters(flow)
  }

  handoffs(): readonly HandoffView[] {
    return this.#journal.handoffs
  }

  counts(): GatewayCounts {
    const { results: handoffs, accepted, relayed, mendedRules } = this.#journal
    const hardware = this.#hardware?.()
    return { handoffs, accepted, relayed, mendedRules, ...this.#heldPackets?.(), ...(hardware && { hardware }) }
  }

  watch(listener: (event: GatewayEvent) => void): () => void {
    return this.#journal.watch(listener)
  }

  drain(server: string): void {
    const draining = this.#server(server)
    draining.draining = true
    this.#moves.sweep([draining])
  }

  undrain(server: string): void {
    this.#server(server).draining = false
  }

  rebalance(): number {
    const servers = this.#servers.filter(({ up, draining }) => up && !draining)
    if (servers.length < 2) return 0
    const total = servers.reduce((sum, { connections }) => sum + connections, 0)
    const most = Math.ceil(total / servers.length)
    // The numbers as they will be when all that is asked for has happened.
    const planned = new Map(servers.map((server) => [server, server.connections]))
    let ordered = 0
    for (const server of servers) {
      for (const entry of this.#steering.flows.of(server)) {
        if ((planned.get(server) ?? 0) <= most) break
        if (entry.state !== 'steered' || entry.recall !== undefined) continue
        const target = least(planned)
        this.#moves.order(entry, target)
        planned.set(server, (planned.get(server) ?? 0) - 1)
        planned.set(target, (planned.get(target) ?? 0) + 1)
        ordered++
      }
    }
    return ordered
  }

  async move(flow: FlowKey, server: string, signal?: AbortSignal): Promise<HandoffOutcome> {
    signal?.throwIfAborted()
    const target = this.#server(server)
    const entry = this.#steering.flows.get(flow)
    if (entry === undefined || entry.state === 'ended') {
      throw new OrderError('unknown-flow', `there is no connection ${flow} at a server`)
    }
    if (!target.up) throw new OrderError('server-down', `server ${server} is not connected`)
    if (entry.server === target) throw new OrderError('no-target', `${flow} is at ${server} already`)
    const { promise, resolve, reject } = Promise.withResolvers<HandoffOutcome>()
    const gone = (): void => reject(new OrderError('unknown-flow', `${flow} has ended before it moved`))
    this.#moves.order(entry, target, { done: resolve, gone })
    const onAbort = (): void => {
      this.#moves.cancel(entry)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #server(name: string): Server {
    const server = this.#servers.find((candidate) => candidate.name === name)
    if (server !== undefined) return server
    throw new OrderError('unknown-server', `no server ${name} is configured`)
  }
}

function least(planned: ReadonlyMap<Server, number>): Server {
  const [[first]] = [...planned].sort(([, one], [, other]) => one - other) as [[Server, number]]
  return first
}

function view({ flow, server, state, since, moves }: FlowEntry, now: number): FlowView {
  return { flow, server: server.name, state, age: now - since, moves }
}
