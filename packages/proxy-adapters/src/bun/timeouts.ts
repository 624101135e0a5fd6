import type { ConnectionHost } from './host.ts'

/** After its own FIN a connection waits this many milliseconds for the client's, so that no reset overtakes the response. */
const LINGER = 5_000

/**
 * `idle`: between requests, or a head is incomplete. `collecting`: a small body is received before the handler is called.
 * `handling`: the handler works, or its response is being sent, or the rest of the request's body is awaited.
 * `suspended`: nothing is read or written, between requests or within a response. `closing`: our FIN is sent. `closed`: the descriptor
 * is gone.
 */
export type Phase = 'idle' | 'collecting' | 'handling' | 'suspended' | 'closing' | 'closed'

/** What a connection is waiting for. */
export interface Waiting {
  readonly phase: Phase
  /** Whether the kernel has not yet taken all that was written. */
  readonly outputBlocked: boolean
  /** Whether the client owes a part of the body of the request under way. */
  readonly bodyDue: boolean
}

/** What is to be done about a connection that has waited too long. `refuse` is a 408. */
export type Measure = 'refuse' | 'close' | 'terminate'

/** How long one connection has been waiting. */
export class Timeouts {
  readonly #host: ConnectionHost
  /** When bytes last moved, on the host's clock. */
  #moved: number
  /** When the incomplete head or the closing began, 0 when there is neither. */
  #since = 0

  constructor(host: ConnectionHost) {
    this.#host = host
    this.#moved = host.now
  }

  /** Bytes have moved, or time in which none could does not count. */
  moved(): void {
    this.#moved = this.#host.now
  }

  /** The closing begins, or a head that is incomplete, unless it has begun before. */
  begin(): void {
    if (this.#since === 0) this.#since = this.#host.now
  }

  /** The head is complete, or is not waited for. */
  end(): void {
    this.#since = 0
  }

  /** What is to be done; `undefined` when it has not waited too long. */
  overdue({ phase, outputBlocked, bodyDue }: Waiting): Measure | undefined {
    const { now, idleTimeout, headTimeout } = this.#host
    const quiet = now - this.#moved > idleTimeout
    const waited = this.#since === 0 ? 0 : now - this.#since
    switch (phase) {
      case 'idle':
        if (waited > headTimeout) return 'refuse'
        if (quiet && outputBlocked) return 'terminate'
        return quiet && this.#since === 0 ? 'close' : undefined
      case 'collecting':
        return quiet ? 'refuse' : undefined
      case 'handling':
        // A handler may take its time. A client that neither reads nor sends what is due may not.
        return quiet && (outputBlocked || bodyDue) ? 'terminate' : undefined
      case 'closing':
        return waited > LINGER ? 'terminate' : undefined
      default:
        return undefined
    }
  }
}
