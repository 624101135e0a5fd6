import { errorText, formatEndpoint } from '@xoffload/core'
import { Backoff } from './backoff.ts'
import { ControlChannel } from './channel.ts'
import { ControlConnection } from './connection.ts'
import { tlsOptions, verifyPeer } from './credentials.ts'
import { ControlError } from './errors.ts'
import type { ControlLimits } from './limits.ts'
import type { ControlConnectorOptions, ControlPeer } from './options.ts'

/** One attempt to connect: ends with a connection that is up, or fails once. */
interface Attempt {
  socket?: Bun.Socket<undefined>
  connection?: ControlConnection
  timer: ReturnType<typeof setTimeout>
  settled: boolean
}

/** A call to connect cannot be taken back: this many may wait for the kernel to give up before a new one is made. */
const maximumAbandoned = 4

/** Keeps one peer's channel connected. Part of `ControlConnector`. */
export class Dialer {
  readonly channel: ControlChannel
  readonly #peer: ControlPeer
  readonly #limits: ControlLimits
  readonly #options: ControlConnectorOptions
  readonly #backoff: Backoff
  #attempt: Attempt | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #upSince = 0
  #connecting = 0
  #closed = false

  constructor(peer: ControlPeer, limits: ControlLimits, options: ControlConnectorOptions) {
    this.channel = new ControlChannel(peer.name, options, limits.messages)
    this.#peer = peer
    this.#limits = limits
    this.#options = options
    this.#backoff = new Backoff(limits.reconnectMinimum, limits.reconnectMaximum, options.random)
  }

  start(): void {
    if (this.#closed) return
    if (this.#connecting > maximumAbandoned) {
      this.#again(
        new ControlError('unreachable', `${this.#peer.name} answers none of ${this.#connecting} attempts to connect`),
      )
      return
    }
    const attempt: Attempt = {
      settled: false,
      timer: setTimeout(() => {
        this.#fail(attempt, new ControlError('unreachable', `no channel within ${this.#limits.openTimeout} ms`))
      }, this.#limits.openTimeout),
    }
    this.#attempt = attempt
    void this.#connect(attempt)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    if (this.channel.connected) this.channel.close()
    else if (this.#attempt !== undefined) this.#fail(this.#attempt, new ControlError('closed', 'closed by this host'))
  }

  async #connect(attempt: Attempt): Promise<void> {
    const { address, port } = this.#peer.endpoint
    this.#connecting++
    try {
      attempt.socket = await Bun.connect<undefined>({
        hostname: address,
        port,
        tls: { ...tlsOptions(this.#options.credentials), serverName: this.#peer.name },
        socket: {
          open: (socket) => this.#opened(attempt, socket),
          handshake: (socket, _success, error) => this.#verify(attempt, socket, error),
          data: (_socket, chunk) => attempt.connection?.receive(chunk),
          drain: () => attempt.connection?.drain(),
          error: (_socket, error) => this.#lost(attempt, error),
          close: (_socket, error) => this.#lost(attempt, error),
          // The promise rejects with the same error.
          connectError: () => {},
        },
      })
    } catch (cause) {
      this.#fail(attempt, new ControlError('unreachable', `${address} port ${port}: ${errorText(cause)}`, { cause }))
    } finally {
      this.#connecting--
    }
  }

  #opened(attempt: Attempt, socket: Bun.Socket<undefined>): void {
    attempt.socket = socket
    if (!attempt.settled) return
    socket.terminate()
    if (this.#closed || this.#attempt !== undefined) return
    // The peer answered an attempt that was given up: it is there again.
    clearTimeout(this.#retry)
    this.start()
  }

  #verify(attempt: Attempt, socket: Bun.Socket<undefined>, error: Error | null): void {
    if (attempt.settled) return
    try {
      verifyPeer(socket, error, [this.#peer.name])
      socket.setNoDelay(true)
      this.#greet(attempt, socket)
    } catch (cause) {
      this.#fail(
        attempt,
        cause instanceof ControlError ? cause : new ControlError('refused', errorText(cause), { cause }),
      )
    }
  }

  #greet(attempt: Attempt, socket: Bun.Socket<undefined>): void {
    const { name, endpoint } = this.#peer
    const { allowance } = this.channel
    const identity = { peer: name, remote: formatEndpoint(endpoint), hello: this.#options.hello, allowance }
    attempt.connection = new ControlConnection(identity, socket, this.#limits, {
      onUp: (connection, hello) => {
        clearTimeout(attempt.timer)
        this.#upSince = performance.now()
        this.channel.attach(connection, hello)
      },
      onMessage: (message) => this.channel.receive(message),
      onThrottled: () => this.channel.throttled(),
      onDown: (reason) => this.#down(reason),
      onRejected: (reason) => this.#fail(attempt, reason),
    })
  }

  #down(reason: ControlError): void {
    // A peer that accepts and dies at once is not there: only a connection that lasted makes the delays short again.
    if (performance.now() - this.#upSince >= this.#limits.reconnectMaximum) this.#backoff.reset()
    this.#attempt = undefined
    this.channel.detach(reason)
    this.#again(reason)
  }

  #lost(attempt: Attempt, error?: Error): void {
    if (attempt.connection !== undefined) {
      attempt.connection.lost(error)
    } else {
      const text = error === undefined ? '' : `: ${errorText(error)}`
      this.#fail(
        attempt,
        new ControlError('lost', `${this.#peer.name} closed the connection during the handshake${text}`),
      )
    }
  }

  #fail(attempt: Attempt, reason: ControlError): void {
    if (attempt.settled) return
    attempt.settled = true
    clearTimeout(attempt.timer)
    if (this.#attempt === attempt) this.#attempt = undefined
    if (attempt.connection === undefined) attempt.socket?.terminate()
    else attempt.connection.fail(reason)
    this.#again(reason)
  }

  #again(reason: ControlError): void {
    if (this.#closed) return
    const delay = this.#backoff.next()
    this.#retry = setTimeout(() => this.start(), delay)
    this.#options.onUnavailable?.(this.#peer.name, reason, delay)
  }
}
