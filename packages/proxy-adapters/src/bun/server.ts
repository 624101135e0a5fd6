import type { FdSocketOptions, Socket, SocketHandler, TCPSocketConnectOptions, TCPSocketListener } from 'bun'
import type { AdoptedConnection } from './adopted-connection.ts'
import { Connection } from './connection.ts'
import { HttpServerError } from './errors.ts'
import type { ConnectionHost } from './host.ts'
import {
  type AdoptOptions,
  DEFAULT_LIMITS,
  type FetchHandler,
  type HttpServerLimits,
  type HttpServerOptions,
  type ListenOptions,
  type SocketAddress,
} from './options.ts'
import { HeadPrefix } from './response-head.ts'

const SECOND = 1000
const DEFAULT_IDLE_TIMEOUT = 60
const DEFAULT_HEAD_TIMEOUT = 10
/** A call of `adopt` while it lasts. */
interface Adoption {
  readonly options: AdoptOptions
  connection: Connection | undefined
}

/** A timeout is noticed at most this fraction of it too late. */
const SWEEPS_PER_TIMEOUT = 4

/**
 * An HTTP/1.1 server for any `fetch` handler. Its connections are accepted by itself ({@link listen}) or elsewhere and
 * given to it ({@link adopt}).
 */
export class HttpServer {
  readonly #fetch: FetchHandler
  readonly #limits: HttpServerLimits
  readonly #onError: HttpServerOptions['onError']
  readonly #idleTimeout: number
  readonly #headTimeout: number
  readonly #connections = new Set<Connection>()
  readonly #host: ConnectionHost & { now: number; stopping: boolean }
  readonly #listeners: TCPSocketListener<Connection>[] = []
  #sweep: ReturnType<typeof setInterval> | undefined
  #refreshed = 0
  #requests = 0
  #emptied: (() => void)[] = []
  #adopting: Adoption | undefined
  readonly #acceptHandlers = this.#handlers((socket) => this.#open(socket, false, undefined))
  readonly #adoptHandlers = this.#handlers((socket) => {
    const adoption = this.#adopting
    const connection = this.#open(socket, true, adoption?.options)
    if (adoption !== undefined) adoption.connection = connection
  })

  constructor(options: HttpServerOptions) {
    this.#fetch = options.fetch
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#onError = options.onError
    this.#idleTimeout = (options.idleTimeout ?? DEFAULT_IDLE_TIMEOUT) * SECOND
    this.#headTimeout = (options.headTimeout ?? DEFAULT_HEAD_TIMEOUT) * SECOND
    this.#host = {
      fetch: this.#fetch,
      resume: options.resume,
      limits: this.#limits,
      prefix: new HeadPrefix(),
      now: performance.now(),
      idleTimeout: this.#idleTimeout,
      headTimeout: this.#headTimeout,
      stopping: false,
      countRequest: () => {
        this.#requests++
      },
      report: (error, request) => this.#report(error, request),
    }
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size
  }

  /** Requests whose heads have arrived since the server was made. */
  get requests(): number {
    return this.#requests
  }

  /**
   * Serves an established, non-blocking TCP connection. Bytes that are already in its receive queue are served as well.
   * @param fd its descriptor; the server closes it.
   * @throws HttpServerError when it is no usable socket or the options contradict each other: the descriptor is the caller's then.
   */
  adopt(fd: number, options: AdoptOptions = {}): AdoptedConnection {
    if (this.#host.stopping) throw new HttpServerError('the server is stopping: it takes no connection')
    if (options.response !== undefined && this.#host.resume === undefined)
      throw new HttpServerError('a response can be continued only with the `resume` option of the server')
    if (options.route !== undefined && options.onSuspended === undefined)
      throw new HttpServerError('a connection with `route` needs `onSuspended`, which takes it when it stops')
    const adoption: Adoption = { options, connection: undefined }
    this.#adopting = adoption
    let failure: unknown
    // Adopting is synchronous: when the call returns, `open` has made the connection or there will be none.
    const connect: FdSocketOptions<Connection> = { fd, allowHalfOpen: true, socket: this.#adoptHandlers }
    // Bun takes a descriptor here; its types know the options but not this overload.
    Bun.connect(connect as unknown as TCPSocketConnectOptions<Connection>).catch((error) => {
      failure = error
    })
    this.#adopting = undefined
    if (adoption.connection !== undefined) return adoption.connection
    throw new HttpServerError(`descriptor ${fd} is not an established socket that Bun can take`, { cause: failure })
  }

  /** Accepts connections itself. Returns the address that it listens on. @throws Error of Bun when the address cannot be bound. */
  listen(options: ListenOptions = {}): SocketAddress {
    if (this.#host.stopping) throw new HttpServerError('the server is stopping: it cannot listen')
    const listener = Bun.listen<Connection>({
      hostname: options.hostname ?? '0.0.0.0',
      port: options.port ?? 0,
      allowHalfOpen: true,
      socket: this.#acceptHandlers,
    })
    this.#listeners.push(listener)
    return { address: listener.hostname, port: listener.port }
  }

  /**
   * Stops listening and closes every connection: idle ones now, others after the response under way, or at once.
   * Resolves when no connection is left. The server cannot be used again. A suspended connection is its holder's, who must resume it
   * (it is served to the end of what it has received, then) or close it; only `force` closes it from here.
   * @param force whether to cut off responses that are under way.
   */
  async stop(force = false): Promise<void> {
    this.#host.stopping = true
    for (const listener of this.#listeners.splice(0)) listener.stop()
    for (const connection of [...this.#connections]) {
      if (force) connection.terminate()
      else connection.stop()
    }
    if (this.#connections.size === 0) return
    await new Promise<void>((resolve) => this.#emptied.push(resolve))
  }

  #handlers(open: (socket: Socket<Connection>) => void): SocketHandler<Connection> {
    return {
      open,
      data: (socket, chunk) => socket.data.onData(chunk),
      drain: (socket) => socket.data.onDrain(),
      end: (socket) => socket.data.onEnd(),
      close: (socket) => this.#closed(socket.data),
      // `close` follows an error and says all that matters; a failed adoption is reported by `adopt`.
      error: () => {},
      connectError: () => {},
    }
  }

  #open(socket: Socket<Connection>, adopted: boolean, options: AdoptOptions | undefined): Connection {
    const connection = new Connection(this.#host, socket, adopted, options)
    socket.data = connection
    this.#connections.add(connection)
    if (options !== undefined) connection.start(options)
    this.#sweep ??= this.#startSweep()
    return connection
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection)
    connection.onClosed()
    if (this.#connections.size > 0) return
    clearInterval(this.#sweep)
    this.#sweep = undefined
    for (const resolve of this.#emptied.splice(0)) resolve()
  }

  /** One timer for all connections; it keeps no process alive. */
  #startSweep(): ReturnType<typeof setInterval> {
    this.#tick()
    const interval = Math.min(SECOND, this.#idleTimeout / SWEEPS_PER_TIMEOUT, this.#headTimeout / SWEEPS_PER_TIMEOUT)
    const timer = setInterval(() => {
      this.#tick()
      for (const connection of this.#connections) connection.sweep()
    }, interval)
    timer.unref()
    return timer
  }

  #tick(): void {
    this.#host.now = performance.now()
    if (this.#host.now - this.#refreshed < SECOND) return
    this.#refreshed = this.#host.now
    this.#host.prefix.refresh()
  }

  #report(error: unknown, request: Request | undefined): Response {
    try {
      const response = this.#onError?.(error, request)
      if (response !== undefined) return response
    } catch (failure) {
      console.error(failure)
    }
    if (this.#onError === undefined) console.error(error)
    return new Response('Internal Server Error', {
      status: 500,
      headers: { 'content-type': 'text/plain;charset=utf-8' },
    })
  }
}
