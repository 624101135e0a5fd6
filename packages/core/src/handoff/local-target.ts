import type { Channel, RestoredConnection, RuleTable } from '../ports.ts'
import type { Message, OfferMessage, OutgoingMessage } from '../protocol/messages.ts'
import type { HandoffCoordinator } from './coordinator-driver.ts'
import type { HandoffDestination } from './outcome.ts'
import { HandoffTarget, type HandoffTargetOptions } from './target-driver.ts'

/**
 * The gateway as the target of a handoff: a connection comes back from a server. The messages stay in the process. The coordinator's lock
 * is the target's too, and its removal is the commit: from then on the gateway's own stack sees the client's packets.
 */
export class LocalTarget<C extends RestoredConnection = RestoredConnection> {
  readonly destination: HandoffDestination
  readonly #target: HandoffTarget<C>

  /** @param host the gateway's name. */
  constructor(host: string, coordinator: HandoffCoordinator, options: HandoffTargetOptions<C>) {
    this.#target = new HandoffTarget({ ...options, redirector: behindLock(coordinator, options.redirector) })
    const answers = loopback(host, (message) => void coordinator.receive(offers, message))
    const offers = loopback(host, (message) => void this.#target.receive(answers, message))
    this.destination = { channel: offers, maximumHandoffs: options.maximumHandoffs }
  }

  /** As {@link HandoffTarget.close}. */
  close(): Promise<void> {
    return this.#target.close()
  }
}

/** A channel whose messages arrive in a later microtask, as no sender expects an answer within its call. */
function loopback(host: string, deliver: (message: Message) => void): Channel {
  return {
    host,
    connected: true,
    send(message: OutgoingMessage): void {
      // What comes from a server is encoded, and nothing else is offered to the gateway itself.
      if (message.type === 'offer' && !(message.snapshot instanceof Uint8Array)) {
        throw new TypeError('a connection that is here already cannot be handed to the gateway itself')
      }
      queueMicrotask(() => deliver(message as Exclude<OutgoingMessage, { snapshot: object }> | OfferMessage))
    },
  }
}

/** The rules of a target whose flows the coordinator has locked: only after the commit there is something to remove. */
function behindLock(coordinator: HandoffCoordinator, redirector: RuleTable): RuleTable {
  return {
    put: () => Promise.resolve('active'),
    remove: (flow, options) =>
      coordinator.isCommitted(flow) ? redirector.remove(flow, options) : Promise.resolve(true),
  }
}
