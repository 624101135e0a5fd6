import { HttpServerError } from './errors.ts'
import type { ConnectionInfo } from './options.ts'

/** The most that the state of a resumable response may hold, in bytes: it travels with the connection. */
export const MAXIMUM_STATE_LENGTH = 32 * 1024

/** The rest of a response's body. Bytes are not copied and must not be changed. */
export type ResumedBody = ReadableStream<unknown> | Uint8Array | Blob

/**
 * Continues a response that another server has begun. `state` is what the handler there gave to {@link resumable}; the body is wanted
 * from `offset` on, counted in bytes of the whole body. `undefined`, or a failure, resets the client's connection: a part of a response
 * cannot be taken back.
 */
export type ResumeHandler = (
  state: Uint8Array,
  offset: number,
  info: ConnectionInfo,
) => ResumedBody | undefined | Promise<ResumedBody | undefined>

// Not a property of the response: one more property shows in the estimate of its memory, by which bodies in memory are recognised.
const states = new WeakMap<Response, Uint8Array>()

/**
 * Allows a response to be continued by another server which runs the same application: its body is the same bytes there, whenever
 * the `resume` option of an `HttpServer` is called with this `state`. Returns the response. The server must get this very object: a clone,
 * or a response that a framework makes of it, is an ordinary one.
 *
 * ```ts
 * const server = new HttpServer({
 *   fetch: () => resumable(new Response(Bun.file('/srv/film.mp4')), 'film.mp4'),
 *   resume: (state, offset) => Bun.file(`/srv/${new TextDecoder().decode(state)}`).slice(offset),
 * })
 * ```
 *
 * @param state what {@link ResumeHandler} needs, at most {@link MAXIMUM_STATE_LENGTH} bytes. Text is carried as UTF-8.
 * @throws HttpServerError when it is longer.
 */
export function resumable(response: Response, state: Uint8Array | string): Response {
  const bytes = typeof state === 'string' ? new TextEncoder().encode(state) : state.slice()
  if (bytes.length > MAXIMUM_STATE_LENGTH)
    throw new HttpServerError(
      `the state of a resumable response has ${bytes.length} bytes: at most ${MAXIMUM_STATE_LENGTH} are allowed`,
    )
  states.set(response, bytes)
  return response
}

/** The state of a response that may be continued elsewhere. */
export function resumableState(response: Response): Uint8Array | undefined {
  return states.get(response)
}
