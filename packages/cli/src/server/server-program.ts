import type { Application, Refusal } from '@xoffload/core'
import { PreloadServer } from '@xoffload/proxy-adapters/preload'
import type { ServerProgramConfig } from '../config/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import type { RestoredSocket } from '../runtime/restored-socket.ts'
import type { ServedConnections } from './served-connections.ts'

/** How long a program that is not there is looked for until it is said what is wrong, and how long until the next look, in milliseconds. */
const READY_TIMEOUT = 5000
const PAUSE = 1000
/** How long the program waits for word on a request before it serves it itself, in milliseconds. */
const ASK_TIMEOUT = 20
/** How often it is looked whether the program has taken all that it was given, in milliseconds. */
const TICK = 10

export interface ServerProgramOptions {
  readonly config: ServerProgramConfig
  readonly log: Log
  /** How long the program may take to accept a connection, in milliseconds. */
  readonly adoptTimeout: number
  /** How many connections may wait for that. */
  readonly maximumWaiting: number
}

/** nginx or another program on this host that serves the connections which are handed to it, and knows nothing of that. */
export class ServerProgram {
  readonly #log: Log
  readonly #adoptTimeout: number
  readonly #closed = Promise.withResolvers<void>()
  #isClosed = false
  #server: PreloadServer | undefined
  #isLookedFor = false

  private constructor({ log, adoptTimeout }: ServerProgramOptions) {
    this.#log = log
    this.#adoptTimeout = adoptTimeout
  }

  /** Listens for the program, which may be started before or after. Rejects with a PreloadError, and with the file system's error. */
  static async start(options: ServerProgramOptions): Promise<ServerProgram> {
    const program = new ServerProgram(options)
    const { log, adoptTimeout, maximumWaiting } = options
    const { socket, listener, users } = options.config
    program.#server = await PreloadServer.open({
      socket,
      listener,
      users,
      askTimeout: ASK_TIMEOUT,
      // What it takes later would be nobody's: the handoff has failed by then.
      adoptTimeout: 0.75 * adoptTimeout,
      maximumWaiting,
      onProcesses: (count) => program.#counted(count),
      onError: (error) => log('errors', { event: 'error', step: 'server program', error: errorText(error) }),
    })
    program.#lookForIt()
    return program
  }

  /** Why a connection with this application data is not taken; undefined when it is. */
  refuses(application: Uint8Array): Refusal | undefined {
    if (application.length > 0)
      return {
        reason: 'unsupported',
        text: 'the server program cannot go on with a response that another one has begun',
      }
    if (this.#server?.processes.length === 0) return { reason: 'busy', text: 'the server program does not run' }
    return undefined
  }

  /** The program as what takes connections. */
  application(served: ServedConnections): Application<RestoredSocket> {
    return {
      adopt: (connection, _, arrival) => {
        const { cookie, unsent } = connection
        return served.add(arrival, cookie, ({ servesUnasked, route, ...hooks }) =>
          connection.give((fd) =>
            this.#opened.adopt(fd, {
              unsent,
              ...(route !== undefined && {
                route: (about, head) => (route(about, head) === 'serve' ? { requests: servesUnasked() } : 'suspend'),
              }),
              ...hooks,
            }),
          ),
        ).taken
      },
      revoke: (arrival) => served.revoke(arrival),
    }
  }

  /** Lets the program take what it was given, for a while. It keeps its connections. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#closed.resolve()
    const deadline = performance.now() + this.#adoptTimeout
    while (this.#opened.waiting > 0 && performance.now() < deadline) await Bun.sleep(TICK)
    this.#opened.close()
  }

  get #opened(): PreloadServer {
    return this.#server as PreloadServer
  }

  #counted(processes: number): void {
    if (processes === 0 && !this.#isLookedFor && !this.#isClosed) {
      this.#log('info', { event: 'server-program-down' })
      this.#lookForIt()
    }
  }

  /** Looks for the program until it is there. */
  #lookForIt(): void {
    this.#isLookedFor = true
    this.#look().catch((error) => {
      // What cannot be looked at, such as /proc, is no reason to end.
      this.#log('errors', { event: 'error', step: 'server program', error: errorText(error) })
    })
  }

  async #look(): Promise<void> {
    for (let said = ''; !this.#isClosed; await Promise.race([Bun.sleep(PAUSE), this.#closed.promise])) {
      try {
        await this.#opened.ready({ timeoutMilliseconds: READY_TIMEOUT })
        this.#isLookedFor = false
        this.#log('info', { event: 'server-program-up', processes: this.#opened.processes.map(({ pid }) => pid) })
        return
      } catch (error) {
        const text = errorText(error)
        if (text !== said && !this.#isClosed) this.#log('errors', { event: 'server-program-missing', error: text })
        said = text
      }
    }
  }
}
