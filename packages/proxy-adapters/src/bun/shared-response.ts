import type { PreparedResponse } from './prepared-response.ts'
import { fieldLines } from './response-head.ts'
import type { SharedBody } from './shared-body.ts'

/**
 * A response that a handler returns again and again, such as a cached object with its headers. An {@link HttpServer} does not use it up,
 * and makes neither an object nor the text of the headers for every request. Its headers are immutable (Fetch, "headers class", guard);
 * whoever needs others takes a `clone()`. Elsewhere, in `Bun.serve` for example, it is good once, as any response: return a `clone()`.
 *
 * ```ts
 * const logo = new SharedResponse(new SharedBody(bytes, { type: 'image/png' }), { headers: { etag: '"1"' } })
 * export default () => logo
 * ```
 */
export class SharedResponse extends Response {
  /** For {@link HttpServer}. */
  readonly prepared: PreparedResponse
  readonly #shared: SharedBody

  /** Throws what `new Response` throws. */
  constructor(shared: SharedBody, init?: ResponseInit) {
    super(shared.blob, init)
    this.#shared = shared
    const headers = immutable(this.headers)
    const contentType = shared.type
    const body = { kind: 'shared', shared, contentType } as const
    this.prepared = { response: this, headers, lines: fieldLines(headers, contentType), body }
  }

  /** An ordinary response with the same body, status and headers. */
  override clone(): Response {
    const { status, statusText, headers } = this
    return this.#shared.response({ status, statusText, headers })
  }
}

function immutable(headers: Headers): Headers {
  const refuse = () => {
    throw new TypeError('the headers of a SharedResponse are immutable: change those of its clone()')
  }
  for (const method of ['append', 'delete', 'set']) Object.defineProperty(headers, method, { value: refuse })
  return headers
}
