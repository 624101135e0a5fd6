import { randomBytes } from 'node:crypto'
import type { Socket, UnixSocketListener } from 'bun'
import { PreloadConnection } from './connection.ts'
import { ConnectionTable } from './connection-table.ts'
import { Deliveries } from './deliveries.ts'
import { explainListener } from './diagnosis.ts'
import { PreloadError } from './errors.ts'
import { Knock } from './knock.ts'
import { Mailbox } from './mailbox.ts'
import type { PreloadAdoptOptions, PreloadServerOptions } from './options.ts'
import { encodeKnock, SECRET_LENGTH, type ShimMessage } from './protocol.ts'
import { listenForShims } from './shim-listener.ts'
import { ShimProcess } from './shim-process.ts'

const DEFAULT_ADOPT_TIMEOUT = 4000
const DEFAULT_ASK_TIMEOUT = 5
const LONGEST_ASK_TIMEOUT = 1000
const DEFAULT_MAXIMUM_WAITING = 1024
const DEFAULT_READY_TIMEOUT = 5000
/** Between two knocks that ask for nothing but an introduction, and between two attempts to send what a process had no room for. */
const TICK = 20

/** A process of the server program that has the shim. */
export interface ServerProcess {
  readonly pid: number
  readonly uid: number
}

/**
 * Gives connections to a server program that knows nothing of it: nginx, or anything that accepts connections with the C library. The
 * program is started with {@link preloadEnvironment}; an adopted connection comes out of its own listening socket, with the client's
 * address, and can be taken back between two requests.
 */
export class PreloadServer {
  readonly #options: PreloadServerOptions
  readonly #secret = randomBytes(SECRET_LENGTH)
  readonly #mailbox = new Mailbox()
  readonly #processes = new Map<Socket<unknown>, ShimProcess>()
  readonly #connections: ConnectionTable
  readonly #deliveries: Deliveries
  #listener: UnixSocketListener<unknown> | undefined
  #timer: ReturnType<typeof setInterval> | undefined
  #introduced = Promise.withResolvers<void>()
  #closed = false

  private constructor(options: PreloadServerOptions) {
    this.#options = options
    this.#deliveries = new Deliveries({
      listener: options.listener,
      mailbox: this.#mailbox,
      secret: this.#secret,
      timeout: options.adoptTimeout ?? DEFAULT_ADOPT_TIMEOUT,
      maximum: options.maximumWaiting ?? DEFAULT_MAXIMUM_WAITING,
    })
    this.#connections = new ConnectionTable(this.#deliveries, (error) => this.#report(error))
  }

  /**
   * Listens for processes of the server program, which may be started before or after. Rejects with {@link PreloadError} (`busy`) when
   * another process listens at the socket, and with the file system's error.
   */
  static async open(options: PreloadServerOptions): Promise<PreloadServer> {
    const server = new PreloadServer(options)
    try {
      server.#listener = await listenForShims(options.socket, {
        open: (socket) => server.#connected(socket),
        data: (socket, bytes) => server.#received(socket, bytes),
        close: (socket) => server.#gone(socket),
      })
      return server
    } catch (error) {
      server.close()
      throw error
    }
  }

  /** Processes that have introduced themselves: with the shim, each does when it first accepts a connection that is meant for it. */
  get processes(): readonly ServerProcess[] {
    return [...this.#processes.values()]
      .filter(({ welcomed }) => welcomed)
      .map(({ peer: { pid, uid } }) => ({ pid, uid }))
  }

  /** Connections that the program has, that are on their way to it, or that were taken back from it. */
  get connections(): number {
    return this.#connections.size
  }

  /** Those of {@link connections} that wait for the program to accept them. */
  get waiting(): number {
    return this.#deliveries.size
  }

  /**
   * Resolves when a process of the server program can be given connections. Rejects with {@link PreloadError} that says why not:
   * `no-listener`, `not-loaded`, `timeout` or `closed`.
   */
  async ready({ timeoutMilliseconds = DEFAULT_READY_TIMEOUT } = {}): Promise<void> {
    const { listener } = this.#options
    const deadline = performance.now() + timeoutMilliseconds
    while (this.processes.length === 0) {
      if (this.#closed) throw new PreloadError('closed', 'the server was closed')
      if (performance.now() >= deadline) throw this.#explain()
      const knock = listener === undefined ? undefined : new Knock(listener, encodeKnock(this.#secret))
      try {
        await Promise.race([this.#introduced.promise, Bun.sleep(TICK)])
        void knock?.over
      } finally {
        knock?.close()
      }
    }
  }

  /**
   * Gives an established TCP connection to the server program. The descriptor must stand between two requests; from the return on it is
   * not the caller's any more. Throws {@link PreloadError} (`busy`, `closed`) or a LinuxError, and then it stays the caller's.
   */
  adopt(fd: number, options: PreloadAdoptOptions = {}): PreloadConnection {
    if (this.#closed) throw new PreloadError('closed', 'the server was closed')
    return new PreloadConnection(fd, this.#connections, options)
  }

  /** The program keeps what it has, as ordinary connections; what it has not accepted is reset. Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.#listener?.stop()
    this.#deliveries.close()
    for (const process of this.#processes.values()) process.close()
    this.#connections.close()
    this.#mailbox.close()
    this.#introduced.resolve()
  }

  #explain(): PreloadError {
    const { listener, socket } = this.#options
    if (listener !== undefined) return explainListener(listener)
    const advice = `does it run, with "xoffload_adopt unix:${socket};", and may its processes enter that folder?`
    return new PreloadError('timeout', `no process of the server program has connected: ${advice}`)
  }

  #connected(socket: Socket<unknown>): void {
    try {
      const process = new ShimProcess(socket, () => this.#flushLater())
      this.#refuseStranger(process)
      this.#processes.set(socket, process)
    } catch (error) {
      socket.terminate()
      this.#report(error)
    }
  }

  #refuseStranger({ peer: { pid, uid } }: ShimProcess): void {
    const { users = [], socket } = this.#options
    if (uid === 0 || uid === process.geteuid?.() || users.includes(uid)) return
    throw new PreloadError('refused', `process ${pid} of user ${uid} connected to ${socket}: name the user in "users"`)
  }

  #received(socket: Socket<unknown>, bytes: Uint8Array): void {
    const process = this.#processes.get(socket)
    if (process === undefined) return
    try {
      for (const message of process.decoder.decode(bytes)) this.#handle(process, message)
    } catch (error) {
      this.#report(error)
      this.#gone(socket)
    }
  }

  #handle(process: ShimProcess, message: ShimMessage): void {
    if (message.type === 'hello') {
      const askMicroseconds = Math.min(this.#options.askTimeout ?? DEFAULT_ASK_TIMEOUT, LONGEST_ASK_TIMEOUT) * 1000
      const words = { secret: this.#secret, askMicroseconds, mailbox: this.#mailbox.reader }
      // Of one that is gone its socket says so next.
      if (!process.welcome(message.value, words)) return
      this.#introduced.resolve()
      this.#options.onProcesses?.(this.processes.length)
      return
    }
    if (!process.welcomed)
      throw new PreloadError('protocol', `a process began with "${message.type}" instead of a hello`)
    this.#connections.handle(process, message)
  }

  #flushLater(): void {
    this.#timer ??= setInterval(() => this.#flush(), TICK)
  }

  /** Sends what processes had no room for. */
  #flush(): void {
    const done = [...this.#processes.values()].map((process) => process.flush()).every(Boolean)
    if (!done) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #gone(socket: Socket<unknown>): void {
    const process = this.#processes.get(socket)
    if (process === undefined) return
    this.#processes.delete(socket)
    this.#connections.processGone(process)
    process.close()
    if (!process.welcomed) return
    if (this.processes.length === 0) this.#introduced = Promise.withResolvers()
    this.#options.onProcesses?.(this.processes.length)
  }

  #report(error: unknown): void {
    if (this.#options.onError !== undefined) this.#options.onError(error)
    else process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  }
}
