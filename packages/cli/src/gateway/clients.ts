import { type Endpoint, type FlowKey, XoffloadError } from '@xoffload/core'
import type {
  FdSocketOptions,
  Socket,
  SocketHandler,
  TCPSocketConnectOptions,
  TCPSocketListener,
  TCPSocketListenOptions,
} from 'bun'
import { errorText, type Log } from '../runtime/log.ts'
import { ClientConnection, type ConnectionOwner } from './client-connection.ts'
import { limitSegmentSize } from './segment-size.ts'

/** How often time limits of client connections are looked at, in milliseconds. */
const SWEEP_INTERVAL = 250
/** How long a connection that a server has given back may wait for its next request, in milliseconds. */
const IDLE_TIMEOUT = 60_000

/** What {@link Clients} need. */
export interface ClientsOptions {
  readonly log: Log
  readonly limits: { readonly headBytes: number; readonly headTimeout: number; readonly connections: number }
  readonly requested: ConnectionOwner['requested']
  readonly unreadable: ConnectionOwner['unreadable']
  /** A connection was accepted. */
  accepted(): void
}

/** The client connections whose sockets are in this process: it accepts them, or a server has given them back. */
export class Clients {
  readonly #options: ClientsOptions
  readonly #connections = new Set<ClientConnection>()
  readonly #owner: ConnectionOwner
  readonly #listeners: TCPSocketListener<ClientConnection>[] = []
  readonly #sweeper: ReturnType<typeof setInterval>
  #adopting: Uint8Array | undefined
  readonly #emptied: (() => void)[] = []
  readonly #acceptHandlers = this.#handlers((socket) => {
    this.#options.accepted()
    socket.data = new ClientConnection(this.#owner, socket, this.#options.limits.headTimeout)
    if (this.#connections.size >= this.#options.limits.connections) socket.terminate()
    else this.#connections.add(socket.data)
  })
  readonly #adoptHandlers = this.#handlers((socket) => {
    const unsent = this.#adopting
    this.#adopting = undefined
    socket.data = new ClientConnection(this.#owner, socket, IDLE_TIMEOUT, unsent)
    this.#connections.add(socket.data)
  })

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#owner = {
      headBytes: options.limits.headBytes,
      requested: options.requested,
      unreadable: options.unreadable,
      closed: (connection) => this.#closed(connection),
    }
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL)
  }

  /**
   * Accepts connections at an address, whose clients are to send segments of at most `segmentSize` bytes. Throws {@link XoffloadError}
   * `LISTEN` when that is impossible.
   */
  listen({ address: hostname, port }: Endpoint, segmentSize?: number): void {
    try {
      // Bun knows `reusePort` here, its types do not.
      const options: TCPSocketListenOptions<ClientConnection> & { readonly reusePort: boolean } = {
        hostname,
        port,
        // A process that takes over listens beside this one for a moment.
        reusePort: true,
        allowHalfOpen: true,
        socket: this.#acceptHandlers,
      }
      const listener = Bun.listen<ClientConnection>(options)
      this.#listeners.push(listener)
      if (segmentSize !== undefined) limitSegmentSize(listener, segmentSize)
    } catch (cause) {
      throw new XoffloadError(
        'LISTEN',
        `cannot listen on ${hostname} port ${port}: ${errorText(cause)}; the service address must be one of this host's`,
        { cause },
      )
    }
  }

  /**
   * Takes an established connection, whose receive queue is served as well; `unsent` is sent to the client first. It is taken also past the
   * limit of connections: whoever hands it over has looked before. Throws
   * {@link XoffloadError} `ADOPT` when it is no usable socket: the descriptor is the caller's then.
   */
  adopt(fd: number, unsent: Uint8Array): void {
    this.#adopting = unsent
    let failure: unknown
    const connect: FdSocketOptions<ClientConnection> = { fd, allowHalfOpen: true, socket: this.#adoptHandlers }
    // Bun takes a descriptor here, synchronously; its types know the options but not this overload.
    Bun.connect(connect as unknown as TCPSocketConnectOptions<ClientConnection>).catch((error) => {
      failure = error
    })
    if (this.#adopting === undefined) return
    this.#adopting = undefined
    throw new XoffloadError('ADOPT', `descriptor ${fd} is not an established socket that Bun can take`, {
      cause: failure,
    })
  }

  /** Whether a client's connection lives here. Looks at all of them. */
  has({ client, service }: FlowKey): boolean {
    for (const connection of this.#connections) {
      if (connection.isHandedOff) continue
      if (isSame(connection.client, client) && isSame(connection.service, service)) return true
    }
    return false
  }

  get size(): number {
    return this.#connections.size
  }

  /** Resolves when no connection is here. */
  emptied(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#emptied.push(resolve))
  }

  /** Accepts no more connections. */
  stopListening(): void {
    for (const listener of this.#listeners.splice(0)) listener.stop()
  }

  /** Closes everything. */
  close(): void {
    clearInterval(this.#sweeper)
    this.stopListening()
    for (const connection of this.#connections) connection.terminate()
  }

  /** An error of a connection that nobody foresaw: it is closed. */
  broken(connection: ClientConnection, error: unknown): void {
    this.#options.log('info', {
      event: 'connection-error',
      client: connection.client.address,
      error: errorText(error),
    })
    connection.terminate()
  }

  #handlers(open: (socket: Socket<ClientConnection>) => void): SocketHandler<ClientConnection> {
    return {
      open,
      data: (socket, chunk) => socket.data.data(chunk),
      drain: (socket) => socket.data.drain(),
      end: (socket) => socket.data.end(),
      close: (socket) => socket.data.close(),
      // Bun reports what a callback throws here too, and leaves the socket open.
      error: (socket, error) => this.broken(socket.data, error),
      connectError: () => {},
    }
  }

  #closed(connection: ClientConnection): void {
    this.#connections.delete(connection)
    if (this.#connections.size > 0) return
    for (const resolve of this.#emptied.splice(0)) resolve()
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections) {
      if (connection.deadline !== undefined && connection.deadline <= now) connection.expire()
    }
  }
}

function isSame(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && one.address === other.address
}
