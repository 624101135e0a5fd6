import type { RequestHead } from '../http/index.ts'
import type { InterruptedResponse } from './interrupted-response.ts'

export interface SuspendOptions {
  /** Gives the wish up as long as the connection has not stopped: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /**
   * Whether the connection may stop in the middle of a response that its handler marked as `resumable`, so that a server which runs the
   * same application continues it. Only for who looks at {@link SuspendedConnection.response}. Default false: responses are sent to
   * their end.
   */
  readonly interrupt?: boolean
}

/** A connection that was given to an `HttpServer`. */
export interface AdoptedConnection {
  /** Requests whose heads have arrived here. */
  readonly requests: number
  /** Whether the descriptor is gone. */
  readonly closed: boolean
  /**
   * Stops the connection as soon as no request is under way and the kernel has taken all output: at once when it is idle. The promise
   * gives `undefined` when the connection is closed first, as after a response with `Connection: close`, or by a client that has ended
   * its half: TCP cannot move such a connection. As long as the wish stands, further calls join it and get the same promise: the signal
   * of any of them ends it for all, and one that says `interrupt` says so for all.
   */
  suspend(options?: SuspendOptions): Promise<SuspendedConnection | undefined>
  /** Closes the connection at once, whatever is under way, with an RST when something was not read. */
  terminate(): void
}

/**
 * A connection that stands still: nothing reads from its descriptor or writes to it, and no timeout of the server applies. Whoever asked
 * for it must call {@link resume} or {@link close}; the first of these calls counts.
 *
 * A client that resets meanwhile closes it. One that ends its half is not noticed: the FIN waits in the kernel, goes along in a snapshot,
 * and is found by {@link resume}.
 */
export interface SuspendedConnection {
  /** The descriptor, open as long as {@link closed} is false. It belongs to the server. */
  readonly fd: number
  /**
   * What was read from the kernel and not used, up to whole requests that were pipelined: the next owner must read it first. Empty after
   * {@link resume} and {@link close}, which overwrites the bytes.
   */
  readonly received: Uint8Array
  /** The head of the request that is next, when {@link received} has all of it and it is well-formed. */
  readonly head: RequestHead | undefined
  /** What is left of the response under way; `undefined` between two requests. */
  readonly response: InterruptedResponse | undefined
  /** Requests whose heads have arrived here, without the one that is next. */
  readonly requests: number
  readonly closed: boolean
  /** Called when the connection is closed before {@link resume} or {@link close}: by its client, or by `stop(true)` of the server. */
  onClosed: (() => void) | undefined
  /** Lets the connection go on here. A request that is in {@link head} is served without asking `route` again. */
  resume(): void
  /** Closes the descriptor: silently when it is in repair mode (TCP_REPAIR), else with an RST. */
  close(): void
}
