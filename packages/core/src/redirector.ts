import type { FlowKey } from './flow.ts'
import type { MacAddress } from './mac.ts'
import type { HandoffReference } from './protocol/messages.ts'

/**
 * How a redirector moves a packet to its target: `l2` rewrites the MAC addresses only; `vxlan` (RFC 7348) and `ipip` (RFC 2003, RFC 2473) send
 * it through a tunnel, to a server in another subnet.
 */
export type SteerMode = 'l2' | 'vxlan' | 'ipip'

/** Where packets are executed: by the kernel's network stack, by the NIC's driver (XDP), or by the NIC. */
export type OffloadKind = 'software' | 'driver' | 'nic'

/** What a redirector can do. Read once after {@link Redirector.open}, immutable from then on. */
export interface RedirectorManifest {
  /** Short and unique, for logs and tables: `tc`, `xdp`, `cx-flower`, ... */
  readonly name: string
  readonly offload: OffloadKind
  readonly families: readonly (4 | 6)[]
  readonly steerModes: readonly SteerMode[]
  /** Whether it can hold a flow's packets. One that cannot needs another redirector underneath. */
  readonly holds: boolean
  /** The number of flows it has room for. */
  readonly capacity: number
  /** Whether counters prove that packets take a rule. */
  readonly observable: boolean
  /** Expected time of one insertion and one removal, in microseconds. */
  readonly expected: { readonly insertMicroseconds: number; readonly removeMicroseconds: number }
}

/** Where a steered packet goes in mode `l2`: the target's MAC address on the segment of the redirector's device. */
export interface L2Target {
  readonly mode: 'l2'
  readonly mac: MacAddress
}

/** Where a steered packet goes in mode `vxlan`: as an Ethernet frame in UDP. */
export interface VxlanTarget {
  readonly mode: 'vxlan'
  /** The IPv4 or IPv6 address at which the target takes the tunnel's packets. */
  readonly remote: string
  /** The VXLAN network identifier, 24 bits. */
  readonly identifier: number
  /** The UDP port of the target, usually 4789. */
  readonly port: number
  /** The destination of the inner frame: the MAC address of the target's tunnel device. */
  readonly mac: MacAddress
}

/** Where a steered packet goes in mode `ipip`: as an IP packet in an IP packet. */
export interface IpipTarget {
  readonly mode: 'ipip'
  /** The IPv4 or IPv6 address at which the target takes the tunnel's packets. */
  readonly remote: string
}

export type SteerTarget = L2Target | VxlanTarget | IpipTarget

/** Whether both lead to the same place in the same way. Addresses are compared as they are written. */
export function sameTarget(one: SteerTarget, other: SteerTarget): boolean {
  if (one.mode === 'l2') return other.mode === 'l2' && one.mac.equals(other.mac)
  if (one.mode === 'ipip') return other.mode === 'ipip' && one.remote === other.remote
  return (
    other.mode === 'vxlan' &&
    one.remote === other.remote &&
    one.identifier === other.identifier &&
    one.port === other.port &&
    one.mac.equals(other.mac)
  )
}

/**
 * Keep the flow's packets, in both directions, and answer nothing: what the client sends is stored, what this host's socket says
 * is stored too (RST is discarded), until the rule is replaced or removed. Then the stored packets go on under the rule that
 * applies from that moment on: what the client sent goes to the target (`steer`) or to this host's stack (no rule), what this
 * host said before it was frozen goes out to the client.
 */
export interface HoldRule {
  readonly action: 'hold'
  readonly flow: FlowKey
  /**
   * What this host says is discarded instead of stored: its socket is frozen and its state was taken, so that whatever a timer
   * makes it say is stale. Default false. What was stored before stays stored.
   */
  readonly silent?: boolean
  /** The handoff that the rule belongs to. A process that adopts the rule after a crash finds it again with {@link Redirector.list}. */
  readonly handoff?: HandoffReference
}

/** Send the client's packets to the target. What this host's stack says on the flow is discarded: the socket here is frozen. */
export interface SteerRule {
  readonly action: 'steer'
  readonly flow: FlowKey
  readonly target: SteerTarget
  /**
   * The connection has ended at the target and the rule only catches late packets: a SYN from the client (its port is used
   * again) deletes the rule and goes to this host's stack. Default false: a SYN is steered like any other packet.
   */
  readonly ended?: boolean
  /**
   * The target is the gateway that steers the flow here, and gets back what arrives after the connection has left. Should it steer
   * the flow here again meanwhile, the two would pass each packet to and fro without end: so what arrives under this rule has its
   * IP hop limit cut to a few, one is taken from it each time, and a packet with none left is discarded. What a hold has stored
   * before goes back as it is. Default false: nothing above Ethernet is changed.
   */
  readonly returning?: boolean
  /**
   * How many bytes the connection is expected to carry under this rule, in both directions: a hint for a redirector that chooses which
   * flows it gives to hardware. Others ignore it, and it is not kept: {@link Redirector.list} does not tell it.
   */
  readonly expectedBytes?: number
  /** The handoff that the rule belongs to. A process that adopts the rule after a crash finds it again with {@link Redirector.list}. */
  readonly handoff?: HandoffReference
}

export type Rule = HoldRule | SteerRule

/** `accepted`: the rule was taken. `active`: packets are proven to take it from now on. */
export type PutOutcome = 'accepted' | 'active'

/** What a rule has seen since it was last put. */
export interface FlowCounters {
  /** Packets from the client as on the wire: a packet merged by GRO counts as its segments. */
  readonly packets: bigint
  /** Bytes of those packets from the Ethernet header on. */
  readonly bytes: bigint
  /** Packets of this host that the rule stored (`hold`) or discarded (`steer`). */
  readonly egressPackets: bigint
  /** When the last packet from the client was seen, CLOCK_MONOTONIC nanoseconds; 0n when there was none. */
  readonly lastSeen: bigint
}

/** A rule as found in the redirector, which may outlive the process that put it. */
export interface ListedRule {
  readonly rule: Rule
  readonly counters: FlowCounters
}

export interface OperationOptions {
  /** Aborts an operation that has not been carried out yet; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/**
 * Holds and steers flows on one device, in software or in hardware. Every operation rejects with a {@link RedirectorError}.
 * `put` is one atomic step: no packet is seen under neither rule when one replaces another. Operations on one flow take effect in the
 * order of the calls; those on different flows in any order.
 */
export interface Redirector {
  readonly manifest: RedirectorManifest
  /** Takes the device. Adopts the rules that an earlier process left there. */
  open(options?: OperationOptions): Promise<void>
  /** Gives the device back: removes all rules and everything that `open` made. Safe to call twice. */
  close(): Promise<void>
  /**
   * Gives the device up and leaves the rules in force for the next process: for a restart or an upgrade that cuts no connection.
   * Nobody sees a packet under no rule, neither while no process has the device nor when the next one opens it. Safe to call twice,
   * and after {@link close}.
   *
   * Flows that are held stay locked: what was stored for them is discarded, since it may neither reach this host's stack nor go out
   * before a handoff's commit, and what arrives is discarded until the next process has opened the device. TCP sends it again, at
   * the price of a retransmission timeout. So let handoffs come to their end first.
   */
  release(): Promise<void>
  /** Inserts or replaces the rule of `rule.flow`. Counters start again at zero. */
  put(rule: Rule, options?: OperationOptions): Promise<PutOutcome>
  /** Removes the flow's rule. False when there was none. */
  remove(flow: FlowKey, options?: OperationOptions): Promise<boolean>
  /** The counters of the flow's rule, undefined when there is none. */
  counters(flow: FlowKey, options?: OperationOptions): Promise<FlowCounters | undefined>
  /** All rules, in no order. A rule that is put or removed meanwhile may be missing or present. */
  list(options?: OperationOptions): AsyncIterable<ListedRule>
}
