import type { Arrival } from '@xoffload/core'

/** How long an end that was sent may still be lost with the control channel, in milliseconds: longer than a dead one is noticed. */
const KEEP = 10_000
/** The most ends that are kept for one gateway. Past it the oldest is dropped: its rule then stays until the gateway stops. */
const LIMIT = 1_048_576

/**
 * Connections that have ended lately. What was sent just before a control channel broke is lost with it, so all of them are sent again
 * when it is back; the gateway knows by the handoff which ones are new to it. While the channel is down nothing is forgotten.
 */
export class RecentEnds {
  readonly #ends = new Map<string, { readonly arrival: Arrival; readonly at: number }[]>()

  /** `connected`: the end was sent, and may be forgotten after a while. */
  add(arrival: Arrival, connected: boolean): void {
    const ends = this.#ends.get(arrival.host) ?? []
    this.#ends.set(arrival.host, ends)
    const now = performance.now()
    ends.push({ arrival, at: now })
    if (connected) {
      const kept = ends.findIndex(({ at }) => now - at < KEEP)
      ends.splice(0, kept)
    }
    if (ends.length > LIMIT) ends.shift()
  }

  /** What is to be sent to a gateway whose channel is up again. */
  of(host: string): readonly Arrival[] {
    return this.#ends.get(host)?.map(({ arrival }) => arrival) ?? []
  }
}
