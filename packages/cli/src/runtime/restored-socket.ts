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
  readonly #asksClient: boolean
  #fd: number | undefined

  /** `asksClient`: see {@link asksClient}. */
  constructor(flow: FlowKey, fd: number, unsent: Uint8Array, asksClient: boolean) {
    this.flow = flow
    this.#fd = fd
    this.unsent = unsent
    this.#asksClient = asksClient
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
    if (this.#asksClient) sendWindowProbe(this.#fd)
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

/**
 * Whether the client is asked what it has received and has room for: a packet that said so may have reached the frozen socket at the very last
 * moment, and the client does not repeat it. With bytes on their way that would cost a retransmission timeout, with too small a window
 * for what there is to send, the kernel's persist timer (RFC 9293 section 3.8.6.1).
 */
export function asksClient({ send, window, options }: TcpSnapshot): boolean {
  return send.sent.length > 0 || window.sendWindow < Math.max(send.unsent.length, options.maximumSegmentSize)
}

/** Restores snapshots into this host's kernel, and overwrites them. */
export const socketRestorer: Restorer<RestoredSocket> = {
  restore(snapshot: TcpSnapshot): RestoredSocket {
    try {
      const { fd, unsent } = restore(snapshot)
      wipeQueues(snapshot)
      return new RestoredSocket(snapshot.flow, fd, unsent, asksClient(snapshot))
    } catch (error) {
      wipeSnapshot(snapshot)
      throw error
    }
  },
}
