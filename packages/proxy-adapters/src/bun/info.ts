import type { Socket } from 'bun'
import type { ConnectionInfo, SocketAddress } from './options.ts'

/** Asks the socket for the client's address only when a handler wants it: it is a system call. */
export class SocketInfo implements ConnectionInfo {
  readonly adopted: boolean
  readonly #socket: Socket<unknown>
  #client: SocketAddress | undefined

  constructor(socket: Socket<unknown>, adopted: boolean, client: SocketAddress | undefined) {
    this.#socket = socket
    this.adopted = adopted
    this.#client = client
  }

  get client(): SocketAddress {
    this.#client ??= { address: this.#socket.remoteAddress, port: this.#socket.remotePort }
    return this.#client
  }
}

/** Scheme and authority of this end of the connection. */
export function origin({ localAddress, localPort }: Socket<unknown>): string {
  return `http://${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`
}
