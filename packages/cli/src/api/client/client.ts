import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { errorText } from '@xoffload/core'
import { errorSchema } from '../schemas.ts'
import { type ApiAddress, addressText } from './address.ts'
import { ClientError } from './error.ts'
import { lines } from './lines.ts'

/** How long an answer may take, milliseconds. */
const ANSWER_TIMEOUT = 10_000
/** How long a stream may be silent: three of the server's signs of life, milliseconds. */
const SILENCE_TIMEOUT = 30_000

/** What a call of the API may say besides its path. */
export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly body?: object
  readonly accept?: string
  /** How long the answer may take, milliseconds. */
  readonly timeout?: number
}

/** What is known of a control API. The token is a secret: never log it. */
export interface ApiClientOptions {
  readonly address: ApiAddress
  readonly token?: string
}

/** A caller of a gateway's control API. Everything rejects with {@link ClientError}. */
export class ApiClient {
  readonly #address: ApiAddress
  readonly #token: string | undefined

  constructor({ address, token }: ApiClientOptions) {
    this.#address = address
    this.#token = token
  }

  /** An answer that is one JSON text of the schema. */
  async get<Schema extends TSchema>(schema: Schema, path: string, request: ApiRequest = {}): Promise<Static<Schema>> {
    const response = await this.#request(path, request)
    const value = await this.#guard(withTimeout(response.json(), ANSWER_TIMEOUT))
    if (!Value.Check(schema, value)) throw this.#noGateway(`its answer to ${path} is not what was expected`)
    return value
  }

  /** The lines of an answer that is streamed. */
  async *lines(path: string, accept: string): AsyncGenerator<string, void> {
    const response = await this.#request(path, { accept })
    yield* lines(this.#chunks(response))
  }

  async #request(
    path: string,
    { method = 'GET', body, accept, timeout = ANSWER_TIMEOUT }: ApiRequest,
  ): Promise<Response> {
    const headers = new Headers()
    if (accept !== undefined) headers.set('accept', accept)
    if (body !== undefined) headers.set('content-type', 'application/json')
    if (this.#token !== undefined) headers.set('authorization', `Bearer ${this.#token}`)
    const expired = new AbortController()
    const timer = setTimeout(() => expired.abort(), timeout)
    const options = {
      method,
      headers,
      redirect: 'manual',
      signal: expired.signal,
      ...(body && { body: JSON.stringify(body) }),
    } as const
    try {
      const response = await this.#guard(this.#fetch(path, options))
      if (!response.ok) throw await this.#refusal(response)
      return response
    } finally {
      clearTimeout(timer)
    }
  }

  #fetch(path: string, options: RequestInit): Promise<Response> {
    if ('socket' in this.#address) return fetch(`http://gateway${path}`, { ...options, unix: this.#address.socket })
    // Bun sends requests to a loopback address too, with their token, to the proxy of the environment: `false` stops it.
    return fetch(`${this.#address.url}${path}`, { ...options, proxy: false } as BunFetchRequestInit)
  }

  /** The body as it comes, as long as something does. */
  async *#chunks(response: Response): AsyncGenerator<Uint8Array, void> {
    const reader = response.body?.getReader()
    if (reader === undefined) return
    try {
      for (;;) {
        const { done, value } = await this.#guard(withTimeout(reader.read(), SILENCE_TIMEOUT))
        if (done) return
        yield value
      }
    } finally {
      // Also when its consumer has had enough; one that has failed cannot be cancelled.
      await reader.cancel().catch(() => {})
    }
  }

  async #refusal(response: Response): Promise<ClientError> {
    const value = await response.json().catch(() => undefined)
    if (!Value.Check(errorSchema, value)) return this.#noGateway(`it answers with HTTP status ${response.status}`)
    const { code, message } = value.error
    if (response.status !== 401) return new ClientError(code, message)
    return new ClientError(
      'UNAUTHORIZED',
      this.#token === undefined
        ? `the gateway at ${addressText(this.#address)} asks for a token: name its file with --token-file`
        : `the gateway at ${addressText(this.#address)} does not accept this token`,
    )
  }

  #noGateway(text: string): ClientError {
    return new ClientError(
      'NO_GATEWAY',
      `what listens on ${addressText(this.#address)} is no xoffload gateway, or one of another version: ${text}`,
    )
  }

  async #guard<T>(step: Promise<T>): Promise<T> {
    try {
      return await step
    } catch (cause) {
      throw this.#failure(cause)
    }
  }

  #failure(cause: unknown): ClientError {
    const address = addressText(this.#address)
    const { code, name } =
      cause instanceof Error ? { code: 'code' in cause ? cause.code : undefined, name: cause.name } : {}
    const of = (code: string, text: string) => new ClientError(code, text, { cause })
    if (cause instanceof ClientError) return cause
    if (code === 'ENOENT') {
      return of(
        'UNREACHABLE',
        `no gateway is running at ${address}: there is no such socket; has its configuration an [api] section?`,
      )
    }
    if (code === 'ECONNREFUSED') return of('UNREACHABLE', `no gateway is running at ${address}: nobody listens there`)
    if (code === 'EACCES' || code === 'EPERM') {
      return of('PERMISSION', `permission denied for ${address}: only the user that the gateway runs as can use it`)
    }
    if (name === 'AbortError' || name === 'TimeoutError')
      return of('TIMEOUT', `the gateway at ${address} does not answer`)
    if (code === 'ECONNRESET' || code === 'ConnectionClosed') {
      return of('CONNECTION_LOST', `the connection to the gateway at ${address} was lost: it may have ended`)
    }
    if (cause instanceof SyntaxError) return this.#noGateway('it does not answer in JSON')
    return of('NO_GATEWAY', `${address}: ${errorText(cause)}`)
  }
}

async function withTimeout<T>(step: Promise<T>, milliseconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DOMException('the time is over', 'TimeoutError')), milliseconds)
  })
  try {
    return await Promise.race([step, expired])
  } finally {
    clearTimeout(timer)
  }
}
