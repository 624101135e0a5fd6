import { type FlowKey, type OriginConnection, type TcpSnapshot, XoffloadError } from '@xoffload/core'
import { freeze, takeSnapshot, thaw, verifySnapshot } from '@xoffload/linux'
import type { Socket } from 'bun'

/** The client closed or reset its connection while it was being handed off. */
export class ClientGoneError extends XoffloadError {
  constructor(flow: FlowKey) {
    super('CLIENT_GONE', `the client of ${flow} has closed its connection`)
  }
}

/**
 * A paused socket of Bun's event loop as the origin of a handoff. `received` gives the bytes that the gateway has read: they go back
 * in front of the receive queue.
 */
export class SocketOrigin implements OriginConnection {
  readonly flow: FlowKey
  readonly #socket: Socket<unknown>
  readonly #fd: number
  readonly #received: () => Uint8Array
  #taken: { readonly snapshot: TcpSnapshot; readonly putBack: Uint8Array } | undefined
  #closed = false

  constructor(flow: FlowKey, socket: Socket<unknown>, fd: number, received: () => Uint8Array) {
    this.flow = flow
    this.#socket = socket
    this.#fd = fd
    this.#received = received
  }

  /** Bun has closed the file descriptor; its number may be another file's by now. */
  closed(): void {
    this.#closed = true
  }

  freeze(): void {
    this.#mustLive()
    freeze(this.#fd)
  }

  snapshot(): TcpSnapshot {
    this.#mustLive()
    const putBack = this.#received()
    this.#taken = { snapshot: takeSnapshot(this.#fd, { putBack }), putBack }
    return this.#taken.snapshot
  }

  verify(): void {
    this.#mustLive()
    const taken = this.#taken
    this.#taken = undefined
    if (taken !== undefined) verifySnapshot(this.#fd, taken.snapshot, taken)
  }

  thaw(): void {
    this.#mustLive()
    thaw(this.#fd)
  }

  release(): void {
    // A socket in repair mode is closed without FIN and RST (tcp_close in net/ipv4/tcp.c).
    if (!this.#closed) this.#socket.terminate()
  }

  reset(): void {
    if (this.#closed) return
    try {
      thaw(this.#fd)
    } finally {
      this.#socket.terminate()
    }
  }

  #mustLive(): void {
    if (this.#closed) throw new ClientGoneError(this.flow)
  }
}
