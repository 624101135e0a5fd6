import {
  closeFd,
  LinuxError,
  type PeerCredentials,
  peerCredentials,
  tryReceive,
  trySend,
  unixPair,
} from '@xoffload/linux'
import type { Socket } from 'bun'
import { descriptorOf } from '../bun/descriptor.ts'
import { PreloadError } from './errors.ts'
import {
  type AgentMessage,
  connectionIn,
  encodeAgentMessage,
  PROTOCOL_VERSION,
  receivedIn,
  ShimMessageDecoder,
} from './protocol.ts'

export interface Welcome {
  readonly secret: Uint8Array
  /** The longest wait for a verdict, microseconds. */
  readonly askMicroseconds: number
  /** What all processes read items from. */
  readonly mailbox: number
}

/** A connection that a process has given back. */
export interface Returned {
  /** The receiver's to close. Undefined when this process may not open more files: then nobody has the connection any more. */
  readonly fd: number | undefined
  /** What the process has read of it and not served. */
  readonly received: Uint8Array
}

/** One process of the server program, with the shim in it. */
export class ShimProcess {
  readonly peer: PeerCredentials
  readonly decoder = new ShimMessageDecoder()
  /** The process has introduced itself. */
  welcomed = false
  readonly #socket: Socket<unknown>
  readonly #fd: number
  /** Connections that were given back, by number, until the message comes that tells of them. */
  readonly #returned = new Map<bigint, Returned>()
  /** Orders that there was no room for. One for each connection at most, the last one. */
  readonly #unsent = new Map<bigint, Uint8Array>()
  #returns: number | undefined
  #closed = false

  readonly #onBlocked: () => void

  /** `onBlocked`: the process does not read; `flush` is to be called in a while. Throws a LinuxError. */
  constructor(socket: Socket<unknown>, onBlocked: () => void) {
    this.#socket = socket
    this.#onBlocked = onBlocked
    this.#fd = descriptorOf(socket)
    this.peer = peerCredentials(this.#fd)
  }

  /**
   * Answers the process's first message. Whether it could be told: one that has not waited for a busy agent is gone, and comes again.
   * Throws {@link PreloadError} (`protocol`), a LinuxError (`EMFILE`).
   */
  welcome(version: number, { secret, askMicroseconds, mailbox }: Welcome): boolean {
    if (version !== PROTOCOL_VERSION || this.welcomed) {
      throw new PreloadError(
        'protocol',
        `a shim of version ${version} said hello: restart the server program with this version`,
      )
    }
    const [theirs, ours] = unixPair()
    this.#returns = ours
    try {
      const message = encodeAgentMessage({
        type: 'welcome',
        value: PROTOCOL_VERSION,
        argument: askMicroseconds,
        secret,
      })
      this.welcomed = trySend(this.#fd, message, [mailbox, theirs])
    } catch (error) {
      if (!(error instanceof LinuxError) || error.errno !== 'EPIPE') throw error
    } finally {
      closeFd(theirs)
    }
    return this.welcomed
  }

  /** Sends a message that is of no use later. A process that does not read misses it. */
  tell(message: AgentMessage): void {
    if (!this.#closed) this.#try(encodeAgentMessage(message))
  }

  /** Sends an order about a connection, when the process reads again if need be. */
  order(message: AgentMessage & { readonly connection: bigint }): void {
    this.#unsent.set(message.connection, encodeAgentMessage(message))
    if (!this.flush() && !this.#closed) this.#onBlocked()
  }

  /** Whether all orders have been sent. */
  flush(): boolean {
    for (const [connection, bytes] of this.#unsent) {
      if (!this.#closed && !this.#try(bytes)) return false
      this.#unsent.delete(connection)
    }
    return true
  }

  /** The connection is not in this process any more: orders about it are of no use. */
  forget(connection: bigint): void {
    this.#unsent.delete(connection)
  }

  /** A connection that the process has given back. Undefined when it sent none. */
  takeReturned(connection: bigint): Returned | undefined {
    this.#receiveReturned()
    const returned = this.#returned.get(connection)
    this.#returned.delete(connection)
    return returned
  }

  /** All that it has given back, and not told of. */
  takeAllReturned(): readonly (readonly [bigint, Returned])[] {
    this.#receiveReturned()
    const all = [...this.#returned]
    this.#returned.clear()
    return all
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#receiveReturned()
    this.#closed = true
    this.#socket.terminate()
    if (this.#returns !== undefined) closeFd(this.#returns)
    for (const { fd } of this.#returned.values()) if (fd !== undefined) closeFd(fd)
    this.#returned.clear()
  }

  #receiveReturned(): void {
    if (this.#returns === undefined || this.#closed) return
    for (;;) {
      const message = tryReceive(this.#returns)
      if (message === undefined || message === 'nothing') return
      const connection = connectionIn(message.bytes)
      const [fd, ...others] = message.fds
      others.forEach(closeFd)
      if (fd === undefined && !message.descriptorsLost) continue
      if (connection !== undefined && !this.#returned.has(connection))
        this.#returned.set(connection, { fd, received: receivedIn(message.bytes) })
      else if (fd !== undefined) closeFd(fd)
    }
  }

  #try(bytes: Uint8Array): boolean {
    try {
      return trySend(this.#fd, bytes, [])
    } catch {
      // The process is gone, and its socket says so next.
      return false
    }
  }
}
