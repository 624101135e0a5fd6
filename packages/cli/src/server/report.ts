import { type Arrival, MAXIMUM_REPORT_LENGTH, type ReportedConnection } from '@xoffload/core'
import type { ControlChannel } from '../control/index.ts'

/** The connections that a server has, of all gateways or of one. */
export interface Inventory {
  /** Those whose sockets live here. */
  readonly owned: Iterable<Arrival>
  readonly prepared: Iterable<ReportedConnection>
  readonly offered: Iterable<ReportedConnection>
}

/** Tells a gateway which of its connections this host has. Throws a ControlError when the channel does not take it all. */
export function sendReport(channel: ControlChannel, nonce: number, { owned, prepared, offered }: Inventory): void {
  const connections = new Map<string, ReportedConnection>()
  for (const { flow, host, handoff, epoch } of owned) {
    if (host === channel.host) connections.set(flow.id, { flow, handoff, epoch, state: 'owned' })
  }
  // A frozen socket is still among those that live.
  for (const connection of [...prepared, ...offered]) connections.set(connection.flow.id, connection)
  const all = [...connections.values()]
  for (let start = 0; start === 0 || start < all.length; start += MAXIMUM_REPORT_LENGTH) {
    const end = start + MAXIMUM_REPORT_LENGTH
    channel.send({ type: 'report', nonce, last: end >= all.length, connections: all.slice(start, end) })
  }
}
