import {
  type FlowKey,
  type RestoredConnection,
  type Restorer,
  type TcpSnapshot,
  wipeQueues,
  wipeSnapshot,
  XoffloadError,
} from '@xoffload/core'
import { acknowledge, closeSilently, resetAndClose, restore, sendWindowProbe, socketCookie } from '@xoffload/linux'

/** A connection that was restored from a snapshot: a file descriptor until an application takes it. */
export class RestoredSocket implements RestoredConnection {
  readonly flow: FlowKey
  readonly unsent: Uint8Array
  /** The kernel's name for the socket. */
  readonly cookie: bigint
  readonly #sentBefore: boolean
  #fd: number | undefined

  /** `sentBefore`: the origin has sent bytes that the client had not acknowledged. */
  constructor(flow: FlowKey, fd: number, unsent: Uint8Array, sentBefore: boolean) {
    this.flow = flow
    this.#fd = fd
    this.unsent = unsent
    this.#sentBefore = sentBefore
    this.cookie = socketCookie(fd)
  }

  /**
   * Gives the file descriptor to `taker`: when that returns, nothing here closes it any more; when it throws, it stays here. Throws
   * what the taker throws, and an error when the descriptor was given away or closed before.
   */
  give<T>(taker: (fd: number) => T): T {
    if (this.#fd === undefined)
      throw new XoffloadError('CONNECTION_TAKEN', `the connection ${this.flow} was taken or closed before`)
    // The first moment at which this socket may speak.
    if (this.#sentBefore) sendWindowProbe(this.#fd)
    const result = taker(this.#fd)
    this.#fd = undefined
    return result
  }

  acknowledge(): void {
    if (this.#fd !== undefined) acknowledge(this.#fd)
  }

  discard(): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd === undefined) return
    // Nobody has taken the connection who would still send this.
    this.unsent.fill(0)
    closeSilently(fd)
  }

  reset(): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd === undefined) return
    this.unsent.fill(0)
    resetAndClose(fd)
  }
}

/** Restores snapshots into this host's kernel, and overwrites them. */
export const socketRestorer: Restorer<RestoredSocket> = {
  restore(snapshot: TcpSnapshot): RestoredSocket {
    try {
      const { fd, unsent } = restore(snapshot)
      wipeQueues(snapshot)
      return new RestoredSocket(snapshot.flow, fd, unsent, snapshot.send.sent.length > 0)
    } catch (error) {
      wipeSnapshot(snapshot)
      throw error
    }
  },
}
