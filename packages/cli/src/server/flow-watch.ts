import type { FlowKey } from '@xoffload/core'
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
  readonly #flows = new Map<string, { readonly flow: FlowKey; readonly host: string }>()
  readonly #onEnded: (flow: FlowKey, host: string) => void
  readonly #listener: TcpDestroyListener
  #timer: ReturnType<typeof setInterval> | undefined
  #incomplete = false
  #comparedAt = 0

  /** `onEnded` gets the flow and the host that it came from. Throws a LinuxError when the kernel does not announce. */
  constructor(onEnded: (flow: FlowKey, host: string) => void) {
    this.#onEnded = onEnded
    this.#listener = TcpDestroyListener.open()
  }

  /** The connection was handed to this host by `host`. */
  add(flow: FlowKey, host: string): void {
    this.#flows.set(flow.id, { flow, host })
    this.#timer ??= setInterval(() => this.#poll(), POLL_INTERVAL)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#listener.close()
  }

  #poll(): void {
    const { flows, disconnected, overflow } = this.#listener.poll()
    for (const flow of flows) this.#ended(flow.id)
    this.#incomplete ||= overflow || disconnected > 0
    if (this.#incomplete && performance.now() - this.#comparedAt >= COMPARE_INTERVAL) this.#compare()
    if (this.#flows.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #compare(): void {
    this.#incomplete = false
    this.#comparedAt = performance.now()
    const alive = new Set(tcpFlows().map(({ id }) => id))
    for (const id of this.#flows.keys()) if (!alive.has(id)) this.#ended(id)
  }

  #ended(id: string): void {
    const entry = this.#flows.get(id)
    if (entry === undefined) return
    this.#flows.delete(id)
    this.#onEnded(entry.flow, entry.host)
  }
}
