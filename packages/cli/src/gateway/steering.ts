import type { FlowKey, HandoffCoordinator, HandoffReference, Redirector, SteerTarget } from '@xoffload/core'
import { probeClient } from '@xoffload/linux'
import { systemClock } from '../runtime/clock.ts'
import { errorText, type Log } from '../runtime/log.ts'
import { type FlowEntry, type FlowTable, sameHandoff } from './flow-table.ts'
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
}

/** The life of steered flows: what becomes of an entry and its rule when a connection ends. */
export class Steering {
  readonly flows: FlowTable
  readonly coordinator: HandoffCoordinator
  readonly #redirector: Redirector
  readonly #journal: Journal
  readonly #log: Log
  #released = false

  constructor({ flows, redirector, coordinator, journal, log }: SteeringOptions) {
    this.flows = flows
    this.coordinator = coordinator
    this.#redirector = redirector
    this.#journal = journal
    this.#log = log
  }

  /** A server says that the connection has ended which the handoff brought there. */
  told(host: string, flow: FlowKey, reference: HandoffReference): void {
    const entry = this.flows.get(flow)
    if (entry === undefined || entry.state === 'ended') return
    // Whatever is said while the flow moves is weighed when the outcome is known. An end of an earlier connection means nothing.
    if (entry.state === 'moving') entry.earlyEnd = { ...reference, host }
    else if (entry.server.name === host && sameHandoff(entry.reference, reference)) this.end(entry)
  }

  /** The handoff of the flow is over and the connection is at the entry's server: it may have ended there already. */
  settled(entry: FlowEntry): void {
    const { earlyEnd } = entry
    delete entry.earlyEnd
    // No server speaks for another.
    if (earlyEnd?.host === entry.server.name && sameHandoff(entry.reference, earlyEnd)) this.end(entry)
  }

  /** The connection has ended: its rule stays for a while, for late packets. */
  end(entry: FlowEntry): void {
    const { flow, server } = entry
    const steer = server.destination?.steer
    entry.state = 'ended'
    this.coordinator.ended(flow)
    this.#journal.tell({ type: 'ended', flow, server: server.name })
    if (steer !== undefined) {
      this.#run(
        () => this.#redirector.put({ action: 'steer', flow, target: steer, ended: true }),
        flow,
        'mark as ended',
      )
    }
    systemClock.after(LINGER, () => this.forget(entry))
  }

  /** A rule of an earlier process whose connection has ended: it catches late packets for a while. */
  linger(flow: FlowKey, target: SteerTarget): void {
    this.#run(() => this.#redirector.put({ action: 'steer', flow, target, ended: true }), flow, 'mark as ended')
    systemClock.after(LINGER, () => {
      if (this.flows.get(flow) === undefined && !this.coordinator.isInFlight(flow)) {
        this.#run(() => this.#redirector.remove(flow), flow, 'remove')
      }
    })
  }

  /** Nothing is left of the connection: without its rule, this host answers its late packets. */
  forget(entry: FlowEntry): void {
    // Should this process have its device again, the rule is still there.
    if (this.#released) {
      systemClock.after(LINGER, () => this.forget(entry))
      return
    }
    if (this.flows.delete(entry)) this.#run(() => this.#redirector.remove(entry.flow), entry.flow, 'remove')
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
  }

  #run(operation: () => Promise<unknown>, flow: FlowKey, step: string): void {
    if (this.#released) return
    operation().catch((error) => this.#log('errors', { event: 'error', flow, step, error: errorText(error) }))
  }
}
