import type { FlowKey } from '@xoffload/core'

/** The most ends that are kept for one gateway: as many as a rule table has room for by default. */
const LIMIT = 1_048_576

/** Connections that ended while the control channel to their gateway was down: it is told when the channel is back. */
export class UndeliveredEnds {
  readonly #flows = new Map<string, Map<string, FlowKey>>()

  /** Past the limit the oldest is dropped: its rule then stays until the gateway stops. */
  add(host: string, flow: FlowKey): void {
    const flows = this.#flows.get(host) ?? new Map<string, FlowKey>()
    this.#flows.set(host, flows)
    flows.set(flow.id, flow)
    if (flows.size <= LIMIT) return
    const oldest = flows.keys().next()
    if (!oldest.done) flows.delete(oldest.value)
  }

  /** The flows kept for a gateway, which are forgotten. */
  take(host: string): Iterable<FlowKey> {
    const flows = this.#flows.get(host)
    this.#flows.delete(host)
    return flows?.values() ?? []
  }
}
