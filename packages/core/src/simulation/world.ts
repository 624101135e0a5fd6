import { MacAddress } from '../mac.ts'
import type { L2Target, SteerTarget } from '../redirector.ts'
import type { Client } from './client.ts'
import { EventQueue } from './event-queue.ts'
import type { SimulatedFlow } from './flow.ts'
import type { Kernel } from './kernel.ts'
import { Network } from './network.ts'
import type { Packet } from './packet.ts'
import type { Plan } from './plan.ts'
import type { Random } from './random.ts'
import type { Sabotage } from './sabotage.ts'

/** The most violations that are noted; the first one is what counts. */
const MAXIMUM_VIOLATIONS = 5

/** What all parts of one simulation share. */
export class World {
  readonly queue = new EventQueue()
  readonly random: Random
  readonly plan: Plan
  readonly sabotage: Sabotage | undefined
  readonly network: Network
  readonly kernels = new Map<string, Kernel>()
  readonly flows: SimulatedFlow[] = []
  /** By index of their flows. */
  readonly clients: Client[] = []
  readonly violations: string[] = []
  /** Data packets that were held. None may get lost when the network loses none. */
  readonly held: Packet[] = []
  /** Handoffs, by their references, and the process that has begun each. */
  readonly references = new Map<string, object>()
  /** Something was resolved, or may have been: promises have callbacks to run before time goes on. */
  stirred = false
  /** No fault happens any more: what is wrong now is to become right by itself. */
  calm = false
  readonly #flowsById = new Map<string, SimulatedFlow>()
  readonly #trace: ((line: string) => void) | undefined

  constructor(plan: Plan, random: Random, sabotage?: Sabotage, trace?: (line: string) => void) {
    this.plan = plan
    this.random = random
    this.sabotage = sabotage
    this.#trace = trace
    this.network = new Network(this)
  }

  addFlow(flow: SimulatedFlow): void {
    this.flows.push(flow)
    this.#flowsById.set(flow.key.id, flow)
  }

  flowOf(key: { readonly id: string }): SimulatedFlow {
    return this.#flowsById.get(key.id) as SimulatedFlow
  }

  clientOf(flow: SimulatedFlow): Client {
    return this.clients[flow.index] as Client
  }

  /** Two hosts must never be able to speak for one connection, whatever has happened to it. */
  checkSpeakers(flow: SimulatedFlow): void {
    let speaker: string | undefined
    for (const kernel of this.kernels.values()) {
      if (!kernel.canSpeak(flow)) continue
      if (speaker !== undefined) this.violate(3, `${flow}: it lives at ${speaker} and at ${kernel.name}`)
      speaker = kernel.name
    }
  }

  /** What must never happen has happened. */
  violate(invariant: number, text: string): void {
    this.note(() => `VIOLATION of invariant ${invariant}: ${text}`)
    if (this.violations.length < MAXIMUM_VIOLATIONS) this.violations.push(`invariant ${invariant}: ${text}`)
  }

  /** A line of the trace, made only when somebody reads it. */
  note(line: () => string): void {
    if (this.#trace === undefined) return
    this.#trace(`${((this.queue.now - 1_000_000) / 1000).toFixed(3).padStart(10)} ms  ${line()}`)
  }

  /** How redirectors reach a host. */
  static steerTo(index: number): SteerTarget {
    return targets[index] as SteerTarget
  }

  /** The host that a rule steers to. All are on one segment here. */
  static hostOf(target: SteerTarget): string {
    return hostNames[(target as L2Target).mac.bytes[5] as number] as string
  }
}

/** The gateway is 0. */
export const hostNames = ['gateway', 'server-1', 'server-2', 'server-3']
const targets = hostNames.map((_, index): SteerTarget => {
  return { mode: 'l2', mac: MacAddress.from(Uint8Array.of(2, 0, 0, 0, 0, index)) }
})
