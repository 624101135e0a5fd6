import type { FetchHandler, HttpServerLimits } from './options.ts'
import type { HeadPrefix } from './response-head.ts'
import type { ResumeHandler } from './resumable.ts'

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly fetch: FetchHandler
  readonly resume: ResumeHandler | undefined
  readonly limits: HttpServerLimits
  readonly prefix: HeadPrefix
  /** Milliseconds on a clock that moves at every sweep: reading it costs nothing. */
  readonly now: number
  /** Milliseconds. */
  readonly idleTimeout: number
  /** Milliseconds. */
  readonly headTimeout: number
  /** Whether connections close after the response under way. */
  readonly stopping: boolean
  /** A request head has arrived. */
  countRequest(): void
  /** A handler or its response body failed. Returns what to answer when no response has begun. */
  report(error: unknown, request: Request | undefined): Response
}
