import type { Channel } from '../ports.ts'
import type { HandoffReference, OfferMessage } from '../protocol/messages.ts'
import type { TcpSnapshot } from '../snapshot.ts'
import { wipeSnapshot } from '../wipe.ts'

const NOTHING = new Uint8Array()

/** What an offer is to carry, until it is sent or not wanted any more. Then it is overwritten (invariant 9). */
export class OfferContent {
  #snapshot: TcpSnapshot | Uint8Array | undefined
  #application: Uint8Array

  /** @param application what the origin's application tells the target's. */
  constructor(application: Uint8Array) {
    this.#application = application
  }

  /** The connection was taken here. */
  set snapshot(snapshot: TcpSnapshot) {
    this.#snapshot = snapshot
  }

  /** The connection was offered by a server, whose application speaks for it. */
  relay({ snapshot, application }: OfferMessage): void {
    this.#application.fill(0)
    this.#snapshot = snapshot
    this.#application = application
  }

  /** Offers it: from then on it is the channel's to overwrite. Throws what the channel throws. */
  send(channel: Channel, reference: HandoffReference): void {
    const snapshot = this.#snapshot as TcpSnapshot | Uint8Array
    const application = this.#application
    this.#snapshot = undefined
    this.#application = NOTHING
    channel.send({ type: 'offer', ...reference, snapshot, application })
  }

  /** Overwrites what was not sent. */
  wipe(): void {
    this.#application.fill(0)
    if (this.#snapshot !== undefined) wipeSnapshot(this.#snapshot)
    this.#snapshot = undefined
  }
}
