import type { RequestHead } from '../http/index.ts'
import type { RequestFactory, ServedRequest } from './request.ts'
import type { RequestBody } from './request-body.ts'
import type { BodyReader } from './stream-sender.ts'
import type { Transfer } from './transfer.ts'

/** One request and its response, while they last. */
export class Exchange {
  readonly head: RequestHead
  readonly #requests: RequestFactory
  request: ServedRequest | undefined
  /** The request's body as long as it is streamed to the handler. */
  body: RequestBody | undefined
  /** The response's body while it is being sent. */
  reader: BodyReader | undefined
  /** The response's body once it takes more than one write. */
  transfer: Transfer | undefined
  /** Whether bytes of the final response have been written. */
  responding = false
  /** Whether the response is out and only the request's body is awaited. */
  answered = false
  /** Whether the handler has failed: the response is that of `onError`. */
  failed = false
  /** Whether the client still waits for `100 Continue`. */
  awaitsContinue: boolean
  /** Whether the client ended its half of the connection before the body was complete. */
  truncated = false
  /** Whether the outcome no longer matters: the client is gone or got an error. */
  abandoned = false

  constructor(head: RequestHead, requests: RequestFactory) {
    this.head = head
    this.#requests = requests
    this.awaitsContinue = head.expectContinue && head.bodyFraming.kind !== 'none'
  }

  /** The exchange is over, in good order. */
  release(): void {
    this.#requests.release(this.request)
  }

  /** Ends the exchange early: the handler's signal fires, its streams end. */
  abandon(error: Error): void {
    if (this.abandoned) return
    this.abandoned = true
    this.body?.fail(error)
    // A producer that fails while it is cancelled has nobody left to tell.
    this.reader?.cancel(error).catch(() => {})
    this.#requests.abort(error)
  }
}
