import { type Endpoint, errorText, formatEndpoint, type HelloMessage } from '@xoffload/core'
import { ControlChannel, type ControlHandlers } from './channel.ts'
import { ControlConnection } from './connection.ts'
import { type ControlCredentials, checkCredentials, tlsOptions, verifyPeer } from './credentials.ts'
import { ControlError } from './errors.ts'
import { type ControlLimits, controlLimits } from './limits.ts'
import { RefusalReporter } from './refusals.ts'

/** What a {@link ControlListener} needs. */
export interface ControlListenerOptions extends ControlHandlers {
  /** Where to listen. Port 0 lets the kernel choose; see {@link ControlListener.port}. */
  readonly listen: Endpoint
  readonly credentials: ControlCredentials
  /** The names of the peers that may connect: exactly those that certificates must show. */
  readonly peers: readonly string[]
  /** What this host says first; `hello.host` is its own name. */
  readonly hello: HelloMessage
  readonly limits?: Partial<ControlLimits>
  /** A connection was refused. Called once a minute for the same address and reason. */
  onRefused?(remote: string, reason: ControlError): void
}

/** One accepted TCP connection: `connection` is there once the peer was verified. */
interface Accepted {
  readonly remote: Endpoint
  connection?: ControlConnection
  timer?: ReturnType<typeof setTimeout>
  dropped?: true
}

type Socket = Bun.Socket<Accepted>

/**
 * Accepts control channels: TLS 1.3, a client certificate from the authority, its name in `peers`. Everything else is closed before a
 * byte of it is read as a message. One channel per peer: a new one replaces the old, because the peer has started again.
 */
export class ControlListener {
  readonly #options: ControlListenerOptions
  readonly #limits: ControlLimits
  readonly #refusals: RefusalReporter
  readonly #listener: Bun.TCPSocketListener<Accepted>
  readonly #opening = new Set<Socket>()
  readonly #channels: ReadonlyMap<string, ControlChannel>

  /** Listens. Throws {@link ControlError} `config` when the address or the credentials cannot be used. */
  constructor(options: ControlListenerOptions) {
    this.#options = options
    this.#limits = controlLimits(options.limits)
    checkCredentials(options.credentials, options.hello.host)
    this.#channels = new Map(
      options.peers.map((peer) => [peer, new ControlChannel(peer, options, this.#limits.messages)]),
    )
    this.#refusals = new RefusalReporter((remote, reason) => options.onRefused?.(remote, reason))
    this.#listener = this.#listen()
  }

  /** The port, also when the kernel chose it. */
  get port(): number {
    return this.#listener.port
  }

  /** The channels of all peers by name, connected or not. */
  get channels(): ReadonlyMap<string, ControlChannel> {
    return this.#channels
  }

  /** Connections that were refused since the start. */
  get refused(): number {
    return this.#refusals.count
  }

  /** Stops listening and closes every channel. Safe to call twice. */
  close(): void {
    this.#listener.stop()
    for (const socket of this.#opening) this.#drop(socket)
    for (const channel of this.#channels.values()) channel.close()
  }

  #listen(): Bun.TCPSocketListener<Accepted> {
    const { address, port } = this.#options.listen
    try {
      return Bun.listen<Accepted>({
        hostname: address,
        port,
        exclusive: true,
        tls: tlsOptions(this.#options.credentials),
        socket: {
          open: (socket) => this.#accept(socket),
          handshake: (socket, _success, error) => this.#verify(socket, error),
          data: (socket, chunk) => socket.data.connection?.receive(chunk),
          drain: (socket) => socket.data.connection?.drain(),
          error: (socket, error) => this.#lost(socket, error),
          close: (socket, error) => this.#lost(socket, error),
        },
      })
    } catch (cause) {
      throw new ControlError(
        'config',
        `the control channel cannot listen on ${address} port ${port}: ${errorText(cause)}`,
        { cause },
      )
    }
  }

  #accept(socket: Socket): void {
    const { remoteAddress, remotePort } = socket
    // A socket whose peer has gone does not tell who that was: this one asks now, and whoever has gone already is not there to be refused.
    socket.data = { remote: { address: remoteAddress, port: remotePort } }
    if (remoteAddress === undefined) {
      socket.terminate()
      return
    }
    const [oldest] = this.#opening
    if (oldest !== undefined && this.#opening.size >= this.#limits.opening) {
      // The oldest, not the newest: an honest peer is done in milliseconds, so a flood of idle connections does not keep it out.
      this.#refuse(
        oldest,
        new ControlError('refused', `still no hello when ${this.#limits.opening} more connections had come`),
      )
    }
    this.#opening.add(socket)
    socket.data.timer = setTimeout(() => {
      this.#refuse(socket, new ControlError('refused', `no handshake and hello within ${this.#limits.openTimeout} ms`))
    }, this.#limits.openTimeout)
  }

  #verify(socket: Socket, error: Error | null): void {
    if (!this.#opening.has(socket)) return
    try {
      const name = verifyPeer(socket, error, this.#options.peers)
      socket.setNoDelay(true)
      this.#greet(socket, name)
    } catch (cause) {
      this.#refuse(
        socket,
        cause instanceof ControlError ? cause : new ControlError('refused', errorText(cause), { cause }),
      )
    }
  }

  #greet(socket: Socket, peer: string): void {
    const channel = this.#channels.get(peer)
    if (channel === undefined) return
    const identity = {
      peer,
      remote: formatEndpoint(socket.data.remote),
      hello: this.#options.hello,
      allowance: channel.allowance,
    }
    socket.data.connection = new ControlConnection(identity, socket, this.#limits, {
      onUp: (connection, hello) => {
        this.#settle(socket)
        channel.attach(connection, hello)
      },
      onMessage: (message) => channel.receive(message),
      onThrottled: () => channel.throttled(),
      onDown: (reason) => channel.detach(reason),
      onRejected: (reason) => this.#refuse(socket, reason),
    })
  }

  #lost(socket: Socket, error: Error | undefined): void {
    if (socket.data.connection !== undefined) {
      socket.data.connection.lost(error)
    } else if (this.#opening.has(socket)) {
      const text = error === undefined ? '' : `: ${errorText(error)}`
      this.#refuse(socket, new ControlError('refused', `closed before the handshake was complete${text}`))
    }
  }

  #refuse(socket: Socket, reason: ControlError): void {
    if (socket.data.dropped) return
    this.#drop(socket)
    this.#refusals.refused(socket.data.remote, reason)
  }

  #drop(socket: Socket): void {
    socket.data.dropped = true
    this.#settle(socket)
    const { connection } = socket.data
    if (connection === undefined) socket.terminate()
    else connection.close()
  }

  #settle(socket: Socket): void {
    clearTimeout(socket.data.timer)
    this.#opening.delete(socket)
  }
}
