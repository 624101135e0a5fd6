import type { FlowCounters, FlowKey, HandoffOutcome, HybridStatistics, ListedRule } from '@xoffload/core'

/** A server as an operator sees it. */
export interface ServerView {
  readonly name: string
  /** Whether its control channel is connected. */
  readonly up: boolean
  /** No connection is given to it, and those that it has are moved away. */
  readonly draining: boolean
  /** Client connections that it has or that are relayed to it. */
  readonly connections: number
}

/** A client connection that the gateway has a rule for. */
export interface FlowView {
  readonly flow: FlowKey
  readonly server: string
  /** `moving` while a handoff is in flight, `steered` while the connection lives, `ended` while late packets are caught. */
  readonly state: 'moving' | 'steered' | 'ended'
  /** Milliseconds since it came to its server. */
  readonly age: number
  /** How often it has moved, its first handoff included. */
  readonly moves: number
}

/** Where a connection is moved from and to. */
export type Direction = 'gateway-to-server' | 'server-to-gateway' | 'server-to-server'

/** A handoff that is over. */
export interface HandoffView {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly flow: FlowKey
  readonly direction: Direction
  readonly from: string
  readonly to: string
  readonly outcome: HandoffOutcome
}

/** Something that has happened, for watching. */
export type GatewayEvent =
  | { readonly type: 'handoff'; readonly handoff: HandoffView }
  | { readonly type: 'ended'; readonly flow: FlowKey; readonly server: string }
  | { readonly type: 'server-up' | 'server-down'; readonly server: string }
  | { readonly type: 'drain'; readonly server: string; readonly remaining: number }

/** What a redirector may count of held flows, since the start of the process. */
export interface HeldPacketCounts {
  /** Packets that were stored. */
  readonly heldPackets: number
  /** Packets that were discarded because the store was full. */
  readonly droppedHeldPackets: number
}

/** Numbers since the start of the process. Those of held packets are there when the redirector counts them. */
export interface GatewayCounts extends Partial<HeldPacketCounts> {
  /** By direction and result of the handoff. */
  readonly handoffs: readonly {
    readonly direction: Direction
    readonly result: HandoffOutcome['result']
    readonly count: number
  }[]
  /** Connections that were accepted, and those of them that were relayed. */
  readonly accepted: number
  readonly relayed: number
  /** Rules that no connection justified and that were removed or set right. */
  readonly mendedRules: number
  /** There when the redirector has hardware. */
  readonly hardware?: HybridStatistics
}

/** An order that cannot be carried out: `unknown-flow`, `unknown-server`, `server-down`, `busy`, `no-target`. */
export type OrderRefusal = 'unknown-flow' | 'unknown-server' | 'server-down' | 'busy' | 'no-target'

/** What an operator can see and order. Orders throw an `OrderError`, whose `reason` is an {@link OrderRefusal}. */
export interface GatewayOperations {
  readonly name: string
  servers(): readonly ServerView[]
  /** In no order. A flow that comes or goes meanwhile may be missing or present. */
  flows(): Iterable<FlowView>
  flow(flow: FlowKey): FlowView | undefined
  rules(): AsyncIterable<ListedRule>
  counters(flow: FlowKey): Promise<FlowCounters | undefined>
  /** The last handoffs, the newest first; how many are kept is limited. */
  handoffs(): readonly HandoffView[]
  counts(): GatewayCounts
  /** Calls `listener` for each event until the result is called. The listener must not throw and not block. */
  watch(listener: (event: GatewayEvent) => void): () => void
  /** Gives the server no more connections and moves those that it has away, each at its next request boundary. */
  drain(server: string): void
  /** Gives the server connections again. */
  undrain(server: string): void
  /** Moves connections from servers that have more than their share to those that have less. Returns how many were asked for. */
  rebalance(): number
  /** Moves a connection at its next request boundary. Resolves with the outcome of the handoff, or rejects after `signal`. */
  move(flow: FlowKey, server: string, signal?: AbortSignal): Promise<HandoffOutcome>
}
