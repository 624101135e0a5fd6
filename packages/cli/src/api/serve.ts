import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { Server } from 'bun'
import { type ApiConfig, isLoopback } from '../config/index.ts'
import { reason } from '../config/read.ts'
import type { GatewayOperations } from '../gateway/operations.ts'
import { ApiError } from './error.ts'
import { readToken, tokenCheck } from './token.ts'
import { listenAt, type SocketFile } from './unix-socket.ts'

/** Seconds after which the connection of somebody without the token is closed. */
const IDLE_TIMEOUT = 30
/** The largest body of a request, bytes. */
const LARGEST_BODY = 64 * 1024
/** How long answers that are being written may take when the API closes, milliseconds. */
const CLOSE_TIMEOUT = 500

/** A control API that is being served. */
export interface ApiServer {
  /** Where: `unix:PATH` or `http://ADDRESS:PORT`. */
  readonly address: string
  /** Ends event streams and orders that wait, stops listening, and removes the socket. Safe to call twice. */
  close(): Promise<void>
}

/** Who is told of errors, and whether another process is followed. */
export interface ServeApiOptions {
  /** Takes errors that nobody foresaw. */
  readonly onError: (error: unknown) => void
  /**
   * Replaces a socket on which another process still listens: for the next process of the same gateway. The other one keeps the
   * connections that it has, and leaves the socket alone when it closes. Default false: that is an error.
   */
  readonly takeOver?: boolean
}

/**
 * Serves the control API where the configuration says: on a unix socket with mode 0600, or on a loopback address to those who show the
 * token. Rejects with {@link ApiError}.
 */
export async function serveApi(
  operations: GatewayOperations,
  config: ApiConfig,
  { onError, takeOver = false }: ServeApiOptions,
): Promise<ApiServer> {
  // Loaded when it is needed: it would be most of the time that a gateway takes to start.
  const { createApi } = await import('./create-api.ts')
  const token = 'token' in config ? await readToken(config.token) : undefined
  const ending = new AbortController()
  try {
    const api = createApi(operations, { signal: ending.signal, onError, ...(token !== undefined && { token }) })
    const start = (place: Place) => serve(place, (request) => api.handle(request), token, onError)
    const served =
      'socket' in config ? await listenOnSocket(config.socket, start, takeOver) : listenOnAddress(config.listen, start)
    let closed: Promise<void> | undefined
    return {
      address: served.address,
      close() {
        closed ??= close(served, ending)
        return closed
      },
    }
  } catch (error) {
    ending.abort()
    throw error
  }
}

type Place = { readonly unix: string } | { readonly hostname: string; readonly port: number }

function serve(
  place: Place,
  handle: (request: Request) => Promise<Response>,
  token: string | undefined,
  onError: (error: unknown) => void,
): Server<undefined> {
  const isKnown = token === undefined ? () => true : tokenCheck(token)
  return Bun.serve({
    ...place,
    // Bun counts from the last byte of the request, however much of the answer is being read: so only for strangers. On a unix socket, where
    // there are none, it could not be changed for a request.
    idleTimeout: token === undefined ? 0 : IDLE_TIMEOUT,
    maxRequestBodySize: LARGEST_BODY,
    development: false,
    // Without `development` Bun shares the port with whoever asks for it too (SO_REUSEPORT, socket(7)).
    reusePort: false,
    fetch(request: Request, server: Server<undefined>) {
      if (isKnown(request.headers.get('authorization'))) server.timeout(request, 0)
      return handle(request)
    },
    error(error) {
      onError(error)
      return new Response(null, { status: 500 })
    },
  } as Bun.Serve.Options<undefined>)
}

/** An API that listens. */
interface Served {
  readonly address: string
  readonly server: Server<undefined>
  /** Absent on an address. */
  readonly file?: SocketFile
}

async function listenOnSocket(
  path: string,
  start: (place: Place) => Server<undefined>,
  takeOver: boolean,
): Promise<Served> {
  const { listener, file } = await listenAt(path, (unix) => start({ unix }), takeOver)
  return { address: `unix:${path}`, server: listener, file }
}

function listenOnAddress({ address, port }: Endpoint, start: (place: Place) => Server<undefined>): Served {
  if (!isLoopback(address)) throw new ApiError(`the control API is not encrypted: it is not served on ${address}`)
  try {
    const server = start({ hostname: address, port })
    return { address: `http://${formatEndpoint({ address, port: server.port ?? port })}`, server }
  } catch (cause) {
    const shown = formatEndpoint({ address, port })
    throw new ApiError(`the control API cannot listen on ${shown}: ${reason(cause)}`, { cause })
  }
}

async function close({ server, file }: Served, ending: AbortController): Promise<void> {
  await file?.remove()
  ending.abort()
  const timer = setTimeout(() => server.stop(true), CLOSE_TIMEOUT)
  await server.stop()
  clearTimeout(timer)
}
