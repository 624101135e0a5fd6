import type { FlowKey, RestoredConnection, Restorer, TcpSnapshot } from '@xoffload/core'
import { acknowledge, closeSilently, resetAndClose, restore } from '@xoffload/linux'

/** A connection that was restored from a snapshot: a file descriptor until an application takes it. */
export class RestoredSocket implements RestoredConnection {
  readonly flow: FlowKey
  readonly unsent: Uint8Array
  #fd: number | undefined

  constructor(flow: FlowKey, fd: number, unsent: Uint8Array) {
    this.flow = flow
    this.#fd = fd
    this.unsent = unsent
  }

  /** Gives the file descriptor away: from now on nothing here closes it. */
  take(): number {
    const fd = this.#fd
    if (fd === undefined) throw new Error(`the connection ${this.flow} was taken or closed before`)
    this.#fd = undefined
    return fd
  }

  acknowledge(): void {
    if (this.#fd !== undefined) acknowledge(this.#fd)
  }

  discard(): void {
    if (this.#fd !== undefined) closeSilently(this.take())
  }

  reset(): void {
    if (this.#fd !== undefined) resetAndClose(this.take())
  }
}

/** Restores snapshots into this host's kernel. */
export const socketRestorer: Restorer<RestoredSocket> = {
  restore(snapshot: TcpSnapshot): RestoredSocket {
    const { fd, unsent } = restore(snapshot)
    return new RestoredSocket(snapshot.flow, fd, unsent)
  },
}
