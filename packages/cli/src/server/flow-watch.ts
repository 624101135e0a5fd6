import type { Arrival, FlowKey } from '@xoffload/core'
import { TcpDestroyListener, tcpFlows } from '@xoffload/linux'
import type { ArrivalJournal } from './arrival-journal.ts'

/** How often the kernel's notices are read, in milliseconds. */
const POLL_INTERVAL = 20

/**
 * Tells when connections that were handed to this host have ended, however they ended: the kernel announces the destruction of
 * each TCP socket (sock_diag), and names it by its cookie, since a client may have used its port again meanwhile. When announcements
 * were lost, the connections that exist are compared with those that should.
 */
export class FlowWatch {
  readonly #arrivals = new Map<bigint, Arrival>()
  /** The last arrivals of flows. */
  readonly #flows = new Map<string, Arrival>()
  readonly #onEnded: (arrival: Arrival) => void
  readonly #journal: ArrivalJournal | undefined
  readonly #listener: TcpDestroyListener
  #timer: ReturnType<typeof setInterval> | undefined

  /**
   * `journal`: of connections that outlive this process; those that are in it are watched. Throws a LinuxError when the kernel does not
   * announce.
   */
  constructor(onEnded: (arrival: Arrival) => void, journal?: ArrivalJournal) {
    this.#onEnded = onEnded
    this.#journal = journal
    this.#listener = TcpDestroyListener.open()
    for (const [cookie, arrival] of [...(journal?.arrivals ?? [])]) this.#enter(cookie, arrival)
    if (this.#arrivals.size > 0) this.#compare()
  }

  /** The connection was handed to this host; `cookie` is its socket's. */
  add(cookie: bigint, arrival: Arrival): void {
    this.#journal?.add(cookie, arrival)
    this.#enter(cookie, arrival)
  }

  #enter(cookie: bigint, arrival: Arrival): void {
    this.#arrivals.set(cookie, arrival)
    this.#flows.set(arrival.flow.id, arrival)
    this.#timer ??= setInterval(() => this.poll(), POLL_INTERVAL)
  }

  /** The socket is not the connection's any more: its end means nothing. */
  forget(cookie: bigint): void {
    const arrival = this.#arrivals.get(cookie)
    if (arrival === undefined) return
    this.#arrivals.delete(cookie)
    this.#journal?.remove(cookie)
    // The client may have used its port again meanwhile.
    if (this.#flows.get(arrival.flow.id) === arrival) this.#flows.delete(arrival.flow.id)
  }

  /** The gateway that has handed the flow's connection to this host, undefined when there is none. */
  gatewayOf(flow: FlowKey): string | undefined {
    return this.#flows.get(flow.id)?.host
  }

  /** The number of connections that have not ended. */
  get size(): number {
    return this.#arrivals.size
  }

  /** The connections that have not ended. */
  get arrivals(): Iterable<Arrival> {
    return this.#arrivals.values()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#listener.close()
  }

  /** Resolves when every connection has ended, or after `milliseconds`. */
  async settled(milliseconds: number): Promise<void> {
    const deadline = performance.now() + milliseconds
    for (this.poll(); this.#arrivals.size > 0 && performance.now() < deadline; this.poll())
      await Bun.sleep(POLL_INTERVAL)
  }

  /** Reads the kernel's notices now. Throws a LinuxError. */
  poll(): void {
    const { cookies, overflow } = this.#listener.poll()
    for (const cookie of cookies) this.#ended(cookie)
    if (overflow) this.#compare()
    if (this.#arrivals.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #compare(): void {
    // A socket in TIME_WAIT has been announced before, and will not be again.
    const alive = new Set(tcpFlows({ timeWait: false }).map(({ id }) => id))
    for (const [cookie, { flow }] of this.#arrivals) if (!alive.has(flow.id)) this.#ended(cookie)
  }

  #ended(cookie: bigint): void {
    const arrival = this.#arrivals.get(cookie)
    if (arrival === undefined) return
    this.forget(cookie)
    this.#onEnded(arrival)
  }
}
