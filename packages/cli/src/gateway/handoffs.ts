import type { HandoffCoordinator, HandoffDestination, HandoffOutcome } from '@xoffload/core'
import type { SocketOrigin } from '../runtime/socket-origin.ts'
import type { FlowTable } from './flow-table.ts'
import type { Journal } from './journal.ts'
import type { Moves } from './moves.ts'
import type { Server } from './server.ts'

/** What {@link Handoffs} work with. */
export interface HandoffsOptions {
  /** The gateway's name. */
  readonly name: string
  readonly coordinator: HandoffCoordinator
  readonly flows: FlowTable
  readonly moves: Moves
  readonly journal: Journal
}

/** One connection of this host that goes to a server. */
export interface Handoff {
  readonly origin: SocketOrigin
  readonly server: Server
  /** The server's. */
  readonly destination: HandoffDestination
  /** Called when the connection is there, before anything is looked at that the server has said of it since. */
  readonly arrived: () => void
}

/** Hands connections of this host to servers, and keeps account of them. */
export class Handoffs {
  readonly #options: HandoffsOptions

  constructor(options: HandoffsOptions) {
    this.#options = options
  }

  /** Hands a connection off. It is where it was unless the outcome says otherwise. */
  async handOff({ origin, server, destination, arrived }: Handoff): Promise<HandoffOutcome> {
    const { name, coordinator, flows, moves, journal } = this.#options
    const { flow } = origin
    const entry = flows.begin(flow, server)
    const outcome = await coordinator.handOff(origin, destination)
    journal.handoff({ flow, direction: 'gateway-to-server', from: name, to: server.name, outcome })
    if (outcome.result === 'handed-off') {
      arrived()
      flows.assign(entry, server, { handoff: outcome.handoff, epoch: coordinator.epoch })
      moves.settled(entry)
    } else {
      flows.delete(entry)
      if (outcome.result === 'rolled-back') origin.resumed()
    }
    return outcome
  }
}
