import type { Arrival } from '@xoffload/core'
import { TcpDestroyListener, tcpFlows } from '@xoffload/linux'

/** How often the kernel's notices are read, in milliseconds. */
const POLL_INTERVAL = 20
/** The least time between two comparisons, in milliseconds: one asks the kernel for all its sockets. */
const COMPARE_INTERVAL = 200

/**
 * Tells when connections that were handed to this host have ended, however they ended: the kernel announces the destruction of
 * each TCP socket (sock_diag). When announcements were lost, or came for sockets that had lost their addresses already (a close with
 * RST), the sockets that exist are compared with those that should.
 */
export class FlowWatch {
  readonly #arrivals = new Map<string, Arrival>()
  readonly #onEnded: (arrival: Arrival) => void
  readonly #listener: TcpDestroyListener
  #timer: ReturnType<typeof setInterval> | undefined
  #incomplete = false
  #comparedAt = 0

  /** Throws a LinuxError when the kernel does not announce. */
  constructor(onEnded: (arrival: Arrival) => void) {
    this.#onEnded = onEnded
    this.#listener = TcpDestroyListener.open()
  }

  /** The connection was handed to this host. */
  add(arrival: Arrival): void {
    this.#arrivals.set(arrival.flow.id, arrival)
    this.#timer ??= setInterval(() => this.poll(), POLL_INTERVAL)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#listener.close()
  }

  /** Resolves when every connection has ended, or after `milliseconds`. */
  async settled(milliseconds: number): Promise<void> {
    const deadline = performance.now() + milliseconds
    while (this.#arrivals.size > 0 && performance.now() < deadline) {
      this.poll()
      // The end of a connection that was closed with RST only shows in a comparison.
      if (this.#arrivals.size > 0) this.#compare()
      await Bun.sleep(POLL_INTERVAL)
    }
  }

  /** Reads the kernel's notices now. Throws a LinuxError. */
  poll(): void {
    const { flows, disconnected, overflow } = this.#listener.poll()
    for (const flow of flows) this.#ended(flow.id)
    this.#incomplete ||= overflow || disconnected > 0
    if (this.#incomplete && performance.now() - this.#comparedAt >= COMPARE_INTERVAL) this.#compare()
    if (this.#arrivals.size > 0) return
    this.#incomplete = false
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #compare(): void {
    this.#incomplete = false
    this.#comparedAt = performance.now()
    // A socket in TIME_WAIT has been announced before, and will not be again.
    const alive = new Set(tcpFlows({ timeWait: false }).map(({ id }) => id))
    for (const id of this.#arrivals.keys()) if (!alive.has(id)) this.#ended(id)
  }

  #ended(id: string): void {
    const arrival = this.#arrivals.get(id)
    if (arrival === undefined) return
    this.#arrivals.delete(id)
    this.#onEnded(arrival)
  }
}
