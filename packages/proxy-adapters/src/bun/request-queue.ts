import type { Refusal } from '../http/index.ts'
import { Exchange } from './exchange.ts'
import type { ConnectionHost } from './host.ts'
import type { Input } from './input.ts'
import type { RequestFactory } from './request.ts'
import { continuedExchange } from './response-continuation.ts'
import type { Suspender } from './suspender.ts'
import type { Timeouts } from './timeouts.ts'

/** What a {@link RequestQueue} works with. */
export interface RequestQueueParts {
  readonly input: Input
  readonly requests: RequestFactory
  readonly suspender: Suspender
  readonly timeouts: Timeouts
}

/** The requests that a client has sent, as far as they are in the input: taken out one after the other. */
export class RequestQueue {
  readonly #host: ConnectionHost
  readonly #parts: RequestQueueParts
  #taken = 0

  constructor(host: ConnectionHost, parts: RequestQueueParts) {
    this.#host = host
    this.#parts = parts
  }

  /** Requests that were taken. */
  get taken(): number {
    return this.#taken
  }

  /**
   * Takes the next request; what follows its head stays in the input. `undefined` when the head is incomplete, `diverted` when the
   * connection is to stop before it, which is asked only if it may.
   */
  next(mayDivert: boolean): Exchange | Refusal | 'diverted' | undefined {
    const { input, requests, suspender, timeouts } = this.#parts
    const head = input.head()
    if (head === undefined) return undefined
    if (head.kind === 'incomplete') {
      timeouts.begin()
      return undefined
    }
    timeouts.end()
    if (head.kind === 'error') return head
    if (mayDivert && suspender.diverts(head)) return 'diverted'
    this.#taken++
    this.#host.countRequest()
    input.skip(head.headLength)
    return new Exchange(head, requests)
  }

  /** In place of a request that another server has taken. */
  continued(): Exchange {
    return continuedExchange(this.#parts.requests)
  }
}
