import type { OutgoingOffer } from './protocol/messages.ts'
import type { TcpSnapshot } from './snapshot.ts'

/** Overwrites the bytes of a snapshot that nobody uses any more (invariant 9): what a client said, and what it was told. */
export function wipeSnapshot(snapshot: TcpSnapshot | Uint8Array): void {
  if (snapshot instanceof Uint8Array) {
    snapshot.fill(0)
    return
  }
  wipeQueues(snapshot)
  snapshot.send.unsent.fill(0)
}

/** The same but for what was never sent, which a restored connection still has to send. */
export function wipeQueues({ send, receive }: TcpSnapshot): void {
  send.sent.fill(0)
  receive.queue.fill(0)
}

/** Overwrites what an offer carries: the snapshot, and what the application says. */
export function wipeOffer({ snapshot, application }: OutgoingOffer): void {
  wipeSnapshot(snapshot)
  application.fill(0)
}
