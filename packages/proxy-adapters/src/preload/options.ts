import type { Endpoint } from '@xoffload/core'
import type { SuspendedConnection } from '../bun/index.ts'
import type { RequestHead } from '../http/index.ts'
import type { PreloadConnection } from './connection.ts'

export interface PreloadServerOptions {
  /**
   * The path of the socket that the shim in the server program connects to, at most 107 bytes. Put it into a folder that only the agent's
   * user can write to.
   */
  readonly socket: string
  /**
   * Where the server program listens, on this host; `0.0.0.0` and `::` are understood. Left out, its processes look into the mailbox by
   * themselves, as nginx does with `xoffload_adopt`, and nobody knocks.
   */
  readonly listener?: Endpoint | undefined
  /** Users (uid) as whom processes of the server program run, besides root and this process's own: such as www-data. */
  readonly users?: readonly number[]
  /** Milliseconds until the program must have accepted a connection. Default 4000. */
  readonly adoptTimeout?: number
  /** Milliseconds that the program waits for a verdict before it serves a request itself, at most 1000. Default 5. */
  readonly askTimeout?: number
  /** Most connections that wait for the program to accept them. Default 1024. */
  readonly maximumWaiting?: number
  /** Called with the number of processes that can be given connections, after it has changed. Must not throw. */
  readonly onProcesses?: (count: number) => void
  /** Called with what is wrong with a process or a callback. By default it is printed to stderr. */
  readonly onError?: (error: unknown) => void
}

/** A request is served here. */
export interface ServeHere {
  /** `route` is not asked about so many further requests of this connection. Default 0. */
  readonly requests?: number
  /**
   * As long as this, requests with the same request line and the same `Host` are served here on every connection without asking:
   * milliseconds. Default 0.
   */
  readonly milliseconds?: number
}

export interface PreloadAdoptOptions {
  /** Bytes that the connection's former owner accepted for sending and that were never sent. They go out before anything else. */
  readonly unsent?: Uint8Array
  /**
   * Asked about a request when all earlier ones are answered, before the program has read any of it, when its head came in one piece.
   * `suspend`: the connection is taken back, and {@link onSuspended} is called. The program waits for the answer, so this is a matter of
   * microseconds. When it throws, that is reported, and the request is served.
   */
  readonly route?: (connection: PreloadConnection, head: RequestHead) => 'serve' | 'suspend' | ServeHere
  /**
   * Takes a connection that {@link route} stopped, or that the program has given back because it ends, when no other process of it has taken
   * it for a second. When it throws, that is reported and the connection goes on here. One that the program does not take after that, or
   * that nobody else takes, is closed: its client gets a FIN.
   */
  readonly onSuspended?: (suspended: PreloadSuspended) => void
  /**
   * Called once when nothing more is to be expected of the connection: the program has closed it, it could not be adopted and was reset, or
   * the process that had it is gone or does not talk any more.
   */
  readonly onClose?: () => void
}

/** A connection that was taken back from the server program. A client that resets it meanwhile is noticed by who freezes it. */
export interface PreloadSuspended extends SuspendedConnection {
  /**
   * The head of the request that is next, when `route` was asked about it or the program has read it. A program with the shim has not: the head
   * is still in the kernel's queue and goes along in a snapshot, and `received` is empty. nginx's module has, and then `received` begins
   * with it. Both are overwritten when the connection goes on or is closed.
   */
  readonly next: Uint8Array
  /**
   * The descriptor is the caller's from now on, and this server has nothing more to do with the connection. Instead of `close` or `resume`;
   * `received` is to be copied before.
   */
  take(): number
}
