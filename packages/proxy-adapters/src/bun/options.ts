import {
  type BodyLimits,
  DEFAULT_BODY_LIMITS,
  DEFAULT_HEAD_LIMITS,
  type HeadLimits,
  type RequestHead,
} from '../http/index.ts'
import type { AdoptedConnection, SuspendedConnection } from './adopted-connection.ts'
import type { InterruptedResponse } from './interrupted-response.ts'
import type { ResumeHandler } from './resumable.ts'

/** An address and a port, as text and number. */
export interface SocketAddress {
  readonly address: string
  readonly port: number
}

/** What a handler may know about the connection that a request came on. */
export interface ConnectionInfo {
  /** The client's end of the connection. */
  readonly client: SocketAddress
  /** Whether the connection was accepted elsewhere and given to this process. */
  readonly adopted: boolean
}

/** A `fetch` handler: Elysia's `app.handle`, Hono's `app.fetch`, or any function like them. */
export type FetchHandler = (request: Request, info: ConnectionInfo) => Response | Promise<Response>

export interface HttpServerLimits extends HeadLimits, BodyLimits {
  /** Request bodies of a known length up to this many bytes are received before the handler is called; larger ones are streamed. */
  readonly bufferedBodySize: number
  /** Most bytes of a request body that are kept for a handler which does not read them; the client waits then. */
  readonly bodyQueueSize: number
  /** Most bytes of a body that no handler wants which are read and dropped to keep the connection usable. */
  readonly discardSize: number
}

export const DEFAULT_LIMITS: HttpServerLimits = {
  ...DEFAULT_HEAD_LIMITS,
  ...DEFAULT_BODY_LIMITS,
  bodySize: 128 * 1024 * 1024,
  bufferedBodySize: 64 * 1024,
  bodyQueueSize: 256 * 1024,
  discardSize: 1024 * 1024,
}

export interface HttpServerOptions {
  readonly fetch: FetchHandler
  /**
   * Continues responses that another server began. With it, this server's own `resumable` responses may be interrupted: all servers
   * between which connections move must run the same application.
   */
  readonly resume?: ResumeHandler
  readonly limits?: Partial<HttpServerLimits>
  /**
   * Called with what a handler or its response body threw. May return the response to send when none has begun.
   * By default the error is printed to stderr and the client gets a bare `500 Internal Server Error`.
   */
  readonly onError?: (error: unknown, request: Request | undefined) => Response | undefined
  /** Seconds after which a connection on which nothing moves is closed: between requests, in a body, in a response nobody reads. Default 60. */
  readonly idleTimeout?: number
  /** Seconds that a client may take to send a request head once it began. Default 10. */
  readonly headTimeout?: number
}

export interface AdoptOptions {
  /**
   * Bytes that the connection's former owner accepted for sending and that were never sent. They go out before anything else, and are
   * overwritten then: the array is the server's from the call on.
   */
  readonly unsent?: Uint8Array
  /** A response that another server began and this one sends to its end, after {@link unsent}. Needs the `resume` option of the server. */
  readonly response?: InterruptedResponse
  /**
   * Asked about each request when its head is complete and all earlier ones are answered, before the handler is called. `suspend` stops
   * the connection there: the request is not served here, and {@link onSuspended} is called. When it throws, that is reported as a
   * handler's error is, and the request is served. Not asked once the client has ended its half.
   */
  readonly route?: (connection: AdoptedConnection, head: RequestHead) => 'serve' | 'suspend'
  /** Takes a connection that {@link route} stopped. When it throws, that is reported and the connection goes on here. */
  readonly onSuspended?: (suspended: SuspendedConnection) => void
  /** Called once when the connection is closed and its descriptor is gone. */
  readonly onClose?: () => void
  /** The client's address, when the socket's own peer address is not the one to tell the handler. */
  readonly client?: SocketAddress
}

export interface ListenOptions {
  /** Default `0.0.0.0`. */
  readonly hostname?: string
  /** Default 0: the kernel chooses. */
  readonly port?: number
}
