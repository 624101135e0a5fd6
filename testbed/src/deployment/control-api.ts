import { TestbedError } from '../errors.ts'

/** The control API has not done what was asked. */
export class ControlApiError extends TestbedError {
  /** The reason, as programs know it: `busy`, `unknown-flow`, `timeout`, ... */
  readonly refusal: string

  constructor(call: string, refusal: string, message: string) {
    super(`${call}: ${message} (${refusal})`)
    this.refusal = refusal
  }
}

/**
 * Calls a gateway's control API at the path of its socket, which is reached from any network namespace. `path` begins behind `/v1/`. Resolves
 * with the answer. Throws {@link ControlApiError} when that is a refusal.
 */
export async function callControlApi(
  socket: string,
  method: string,
  path: string,
  { body, signal }: { readonly body?: object; readonly signal?: AbortSignal } = {},
): Promise<unknown> {
  const response = await fetch(`http://gateway/v1/${path}`, {
    unix: socket,
    method,
    // What is left open at the gateway would look like a leak.
    keepalive: false,
    ...(signal !== undefined && { signal }),
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  const answer = (await response.json()) as { readonly error?: { readonly code: string; readonly message: string } }
  if (answer.error === undefined) return answer
  throw new ControlApiError(`${method} ${path}`, answer.error.code, answer.error.message)
}
