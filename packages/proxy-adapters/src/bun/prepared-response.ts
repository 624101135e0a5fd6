import type { Socket } from 'bun'
import { HttpServerError } from './errors.ts'
import { type ResponseBody, takeBody } from './response-body.ts'
import type { FieldLines } from './response-head.ts'
import { SharedResponse } from './shared-response.ts'

/** A response that can be sent. */
export interface PreparedResponse {
  readonly response: Response
  /** `undefined` when there is none. */
  readonly headers: Headers | undefined
  /** The headers' lines where they are known already. */
  readonly lines: FieldLines | undefined
  readonly body: ResponseBody
}

/** Takes apart what a handler returned. Throws HttpServerError or TypeError when it cannot be sent. */
export function prepare(result: unknown, socket: Socket<unknown>): PreparedResponse {
  if (result instanceof SharedResponse) return result.prepared
  const response = checked(result)
  // Before the body is taken: Bun derives a content type from the body when the headers are first looked at.
  const { headers } = response
  const body = takeBody(response, socket)
  // Most handlers set no header at all, and every look into a `Headers` is a call into native code.
  return { response, headers: headers.count === 0 ? undefined : headers, lines: undefined, body }
}

function checked(response: unknown): Response {
  if (!(response instanceof Response)) throw new HttpServerError('the fetch handler must return a Response')
  if (response.status < 200) throw new HttpServerError(`a response of status ${response.status} cannot be sent`)
  return response
}
