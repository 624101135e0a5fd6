import { type FlowKey, type OriginConnection, type TcpSnapshot, wipeSnapshot, XoffloadError } from '@xoffload/core'
import {
  destroyConnection,
  freeze,
  LinuxError,
  readUnheardData,
  type SocketProgress,
  sendUnheardData,
  sendWindowProbe,
  stopPretending,
  takeSnapshotWithProgress,
  thaw,
  type UnheardData,
  verifyProgress,
} from '@xoffload/linux'

/** The client closed or reset its connection while it was being handed off. */
export class ClientGoneError extends XoffloadError {
  constructor(flow: FlowKey) {
    super('CLIENT_GONE', `the client of ${flow} has closed its connection`)
  }
}

/** A socket that somebody else's event loop owns, and that nobody reads or writes. */
export interface PausedSocket {
  readonly flow: FlowKey
  readonly fd: number
  /** Another process has the socket too, and would go on with one that is not frozen. */
  readonly shared?: boolean
  /** What was read of the connection and is not served here: it goes back in front of the receive queue. */
  received(): Uint8Array
  /** Closes the file descriptor. */
  terminate(): void
}

/** A paused socket as the origin of a handoff. */
export class SocketOrigin implements OriginConnection {
  readonly flow: FlowKey
  readonly #socket: PausedSocket
  #taken: TcpSnapshot | undefined
  #progress: SocketProgress | undefined
  #unheard: UnheardData | undefined
  #closed = false

  constructor(socket: PausedSocket) {
    this.flow = socket.flow
    this.#socket = socket
  }

  /** The file descriptor was closed; its number may be another file's by now. */
  closed(): void {
    this.#closed = true
  }

  freeze(): void {
    this.#mustLive()
    this.#progress = undefined
    freeze(this.#socket.fd)
  }

  snapshot(): TcpSnapshot {
    this.#mustLive()
    const putBack = this.#socket.received()
    const { snapshot, progress } = takeSnapshotWithProgress(this.#socket.fd, { putBack })
    this.#taken = snapshot
    this.#progress = progress
    return snapshot
  }

  verify(): void {
    // It is offered and its owner has closed it, silently since it is frozen: the target's is the only one that is left.
    if (this.#closed && this.#progress !== undefined && this.#taken === undefined) return
    this.#mustLive()
    if (this.#progress === undefined) return
    // The lock is silent.
    stopPretending(this.#socket.fd)
    verifyProgress(this.#socket.fd, this.#progress)
    // What is offered now is overwritten by the channel.
    this.#taken = undefined
  }

  thaw(): void {
    this.#wipe()
    this.#mustLive()
    try {
      if (this.#progress !== undefined) this.#unheard = readUnheardData(this.#socket.fd, this.#progress)
    } finally {
      thaw(this.#socket.fd)
    }
  }

  /**
   * To be called when the connection goes on here and its lock is gone. A packet that had passed the lock before it was there may have reached
   * the frozen socket, whose answer was discarded, and so was the data that it made room for: either end would wait for its retransmission
   * timeout. So this host sends that data, or says where it stands. Throws LinuxError.
   */
  resumed(): void {
    try {
      if (!this.#closed && !this.#sendUnheard()) sendWindowProbe(this.#socket.fd)
    } finally {
      this.#wipe()
    }
  }

  /** False when there is nothing, or a raw socket cannot send it: the kernel will, after its timeout. */
  #sendUnheard(): boolean {
    if (this.#unheard === undefined) return false
    try {
      sendUnheardData(this.#socket.fd, this.flow, this.#unheard)
      return true
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error
      return false
    }
  }

  release(): void {
    this.#wipe()
    // A socket in repair mode is closed without FIN and RST (tcp_close in net/ipv4/tcp.c).
    if (!this.#closed) this.#socket.terminate()
  }

  reset(): void {
    this.#wipe()
    if (this.#closed) return
    try {
      // Thawed, a shared socket would be the other process's should this one die now, while the target may have the connection.
      if (this.#socket.shared) destroyShared(this.#socket.fd)
      else thaw(this.#socket.fd)
    } finally {
      this.#socket.terminate()
    }
  }

  /** A snapshot that was not offered (what was read of the connection is in it as a copy), and what the client did not hear. */
  #wipe(): void {
    if (this.#taken !== undefined) wipeSnapshot(this.#taken)
    this.#taken = undefined
    if (this.#unheard !== undefined) wipeSnapshot(this.#unheard.bytes)
    this.#unheard = undefined
  }

  #mustLive(): void {
    if (this.#closed) throw new ClientGoneError(this.flow)
  }
}

/** A connection that has ended by itself needs no RST; where the kernel cannot send one, the client gets it for its next packet. */
function destroyShared(fd: number): void {
  try {
    destroyConnection(fd)
  } catch (error) {
    if (!(error instanceof LinuxError) || !['ENOENT', 'EOPNOTSUPP'].includes(error.errno)) throw error
  }
}
