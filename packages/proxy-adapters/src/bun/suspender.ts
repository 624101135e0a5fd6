import type { Socket } from 'bun'
import type { RequestHead } from '../http/index.ts'
import type { AdoptedConnection, SuspendedConnection, SuspendOptions } from './adopted-connection.ts'
import { descriptorOf } from './descriptor.ts'
import type { ConnectionHost } from './host.ts'
import type { Input } from './input.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { AdoptOptions } from './options.ts'
import type { Output } from './output.ts'
import type { ReadGate } from './read-gate.ts'
import { type Standing, Suspended, type SuspendedOwner } from './suspended.ts'

/** What stands still with a connection. */
export interface SuspenderParts {
  readonly socket: Socket<unknown>
  readonly input: Input
  readonly output: Output
  readonly gate: ReadGate
}

/** Who wants the connection to stop, and who has it while it stands. */
export class Suspender {
  readonly #connection: AdoptedConnection & SuspendedOwner
  readonly #host: ConnectionHost
  readonly #options: AdoptOptions
  readonly #parts: SuspenderParts
  #wish: PromiseWithResolvers<SuspendedConnection | undefined> | undefined
  #mayInterrupt = false
  /** Whether `route` wants the connection to stop before the request that is next. */
  #routed = false
  /** Whether the request that is next has been offered already, so that `route` is not asked about it again. */
  #offered = false
  #suspended: Suspended | undefined

  constructor(
    connection: AdoptedConnection & SuspendedOwner,
    host: ConnectionHost,
    options: AdoptOptions,
    parts: SuspenderParts,
  ) {
    this.#connection = connection
    this.#host = host
    this.#options = options
    this.#parts = parts
  }

  /** Whether the connection is to stop between two requests. */
  get wished(): boolean {
    return this.#wish !== undefined
  }

  /** Whether the connection is to stop even within a response. */
  get mayInterrupt(): boolean {
    return this.#wish !== undefined && this.#mayInterrupt
  }

  /** See {@link AdoptedConnection.suspend}. The connection looks whether it can stop now. */
  wish({ signal, interrupt = false }: SuspendOptions): Promise<SuspendedConnection | undefined> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#connection.closed) return Promise.resolve(undefined)
    if (this.#suspended !== undefined) return Promise.resolve(this.#suspended)
    this.#mayInterrupt = interrupt || this.mayInterrupt
    this.#wish ??= Promise.withResolvers()
    const { promise } = this.#wish
    if (signal !== undefined) this.#watch(signal, promise)
    return promise
  }

  /** Whether the connection stops before this request. */
  diverts(head: RequestHead): boolean {
    const { route } = this.#options
    if (route === undefined) return false
    if (this.#offered) {
      this.#offered = false
      return false
    }
    try {
      this.#routed = route(this.#connection, head) === 'suspend'
    } catch (error) {
      this.#host.report(error, undefined)
    }
    return this.#routed
  }

  /** Stops the connection, between two requests or within `response`: nothing is read or written any more. */
  stop(response: InterruptedResponse | undefined): void {
    this.#parts.output.hold()
    this.#parts.gate.pause()
    // When the socket's callback has returned: Bun may be in a loop of reads that still uses the descriptor.
    setImmediate(() => {
      if (!this.#connection.closed) this.#stopped(this.#standing(response))
    })
  }

  /** The connection goes on here. */
  resumed(): void {
    this.#suspended = undefined
  }

  /** The descriptor is gone. */
  closed(): void {
    const suspended = this.#suspended
    this.#suspended = undefined
    this.#settle((wish) => wish.resolve(undefined))
    suspended?.lost()
  }

  /** The connection stands: gives it to whoever wanted that. */
  #stopped(standing: Standing): void {
    const routed = this.#routed
    this.#routed = false
    if (!routed && this.#wish === undefined) {
      // The wish has been given up meanwhile.
      this.#connection.resume()
      return
    }
    const suspended = new Suspended(this.#connection, standing)
    this.#suspended = suspended
    this.#offered = standing.head !== undefined && standing.response === undefined
    this.#settle((wish) => wish.resolve(suspended))
    if (routed) this.#tell(suspended)
  }

  #standing(response: InterruptedResponse | undefined): Standing {
    const { socket, input } = this.#parts
    const next = input.head()
    return {
      fd: descriptorOf(socket),
      received: input.bytes,
      head: next?.kind === 'head' ? next : undefined,
      response,
      requests: this.#connection.requests,
    }
  }

  #tell(suspended: Suspended): void {
    try {
      this.#options.onSuspended?.(suspended)
    } catch (error) {
      this.#host.report(error, undefined)
      suspended.resume()
    }
  }

  #watch(signal: AbortSignal, promise: Promise<unknown>): void {
    const cancel = () => this.#settle((wish) => wish.reject(signal.reason))
    const ignore = () => signal.removeEventListener('abort', cancel)
    signal.addEventListener('abort', cancel)
    promise.then(ignore, ignore)
  }

  #settle(how: (wish: PromiseWithResolvers<SuspendedConnection | undefined>) => void): void {
    const wish = this.#wish
    this.#wish = undefined
    if (wish !== undefined) how(wish)
  }
}
