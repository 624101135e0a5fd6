import {
  type Clock,
  type FlowKey,
  type HandoffCoordinator,
  type HandoffReference,
  type Redirector,
  referenceOf,
  type SteerTarget,
  sameHandoff,
  TimerWheel,
} from '@xoffload/core'
import { probeClient } from '@xoffload/linux'
import { systemClock } from '../runtime/clock.ts'
import { errorText, type Log } from '../runtime/log.ts'
import type { FlowEntry, FlowTable } from './flow-table.ts'
import type { Journal } from './journal.ts'
import type { Server } from './server.ts'

/** How long the rule of an ended connection catches late packets, in milliseconds. */
const LINGER = 1000

/** What all that happens to flows needs. */
export interface SteeringOptions {
  readonly flows: FlowTable
  readonly redirector: Redirector
  readonly coordinator: HandoffCoordinator
  readonly journal: Journal
  readonly log: Log
  /** Default: the system's. */
  readonly clock?: Clock
}

/** The life of steered flows: what becomes of an entry and its rule when a connection ends. */
export class Steering {
  readonly flows: FlowTable
  readonly coordinator: HandoffCoordinator
  readonly #redirector: Redirector
  readonly #journal: Journal
  readonly #log: Log
  readonly #lingering: TimerWheel
  /** What has to wait until the rules are this process's again. At most as many as there are rules. */
  readonly #deferred: (() => void)[] = []
  #released = false

  constructor({ flows, redirector, coordinator, journal, log, clock = systemClock }: SteeringOptions) {
    this.flows = flows
    this.coordinator = coordinator
    this.#redirector = redirector
    this.#journal = journal
    this.#log = log
    this.#lingering = new TimerWheel(clock, LINGER / 20)
  }

  /** A server says that the connection has ended which the handoff brought there. */
  told(host: string, flow: FlowKey, reference: HandoffReference): void {
    const entry = this.flows.get(flow)
    if (entry === undefined || entry.state === 'ended') return
    // Whatever is said while the flow moves is weighed when the outcome is known. An end of an earlier connection means nothing.
    if (entry.state === 'moving') {
      const early = this.flows.early(entry, host)
      if (early !== undefined) early.end = referenceOf(reference)
    } else if (entry.server.name === host && sameHandoff(entry.reference, reference)) this.end(entry)
  }

  /** The connection has ended: its rule stays for a while, for late packets. */
  end(entry: FlowEntry): void {
    const { flow, server } = entry
    const steer = server.destination?.steer
    entry.state = 'ended'
    this.coordinator.ended(flow)
    this.#journal.tell({ type: 'ended', flow, server: server.name })
    if (steer !== undefined) this.#markEnded(flow, steer)
    // Nothing is left of the connection then: without its rule, this host answers its late packets.
    this.#afterwards(() => {
      if (this.flows.delete(entry)) this.#remove(flow)
    })
  }

  /** A rule of an earlier process whose connection has ended: it catches late packets for a while. */
  linger(flow: FlowKey, target: SteerTarget): void {
    this.#markEnded(flow, target)
    this.#afterwards(() => {
      if (this.flows.get(flow) === undefined && !this.coordinator.isInFlight(flow)) this.#remove(flow)
    })
  }

  /** What the server had is gone. */
  forgetServer(server: Server): void {
    for (const entry of this.flows.of(server)) {
      if (entry.state === 'steered' && this.flows.delete(entry)) this.lost(entry.flow)
    }
  }

  /** Nobody has the connection any more: without its rule this host's stack answers the client's packets with an RST. */
  lost(flow: FlowKey): void {
    const remove = async (): Promise<void> => {
      await this.#redirector.remove(flow)
      // One that only waits for an answer has to be made to say something.
      probeClient(flow)
    }
    this.#run(remove, flow, 'remove')
  }

  /** Whether the rules are another process's to change. */
  set released(released: boolean) {
    this.#released = released
    if (!released) for (const then of this.#deferred.splice(0)) then()
  }

  /** A client that uses its port again takes the rule away. */
  #markEnded(flow: FlowKey, target: SteerTarget): void {
    this.#run(() => this.#redirector.put({ action: 'steer', flow, target, ended: true }), flow, 'mark as ended')
  }

  /** Takes effect after what was asked for before, as all operations on one flow: the rule does not come back. */
  #remove(flow: FlowKey): void {
    this.#run(() => this.#redirector.remove(flow), flow, 'remove')
  }

  /** When late packets have had their time. While the rules are another process's it waits for them: they are still there when they are back. */
  #afterwards(then: () => void): void {
    this.#lingering.start(LINGER, () => {
      if (this.#released) this.#deferred.push(then)
      else then()
    })
  }

  #run(operation: () => Promise<unknown>, flow: FlowKey, step: string): void {
    if (this.#released) return
    operation().catch((error) => this.#log('errors', { event: 'error', flow, step, error: errorText(error) }))
  }
}
