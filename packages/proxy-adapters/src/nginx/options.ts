import type { NginxArrival } from './arrival.ts'

/**
 * `handed-off`: the connection lives elsewhere, nginx closes its descriptor silently, and the arrival is the handler's to close.
 * `refused`: the connection is as it was, not frozen, and nginx serves the request itself; `serverFailed`: for nginx's balancing the
 * server has failed (`max_fails`). `lost`: nobody can serve it any more, and nginx ends it.
 */
export type NginxVerdict =
  | { readonly result: 'handed-off' }
  | { readonly result: 'refused'; readonly reason: string; readonly serverFailed?: boolean }
  | { readonly result: 'lost'; readonly reason: string }

export interface NginxGatewayOptions {
  /** The path of the socket that `xoffload_gateway` names, at most 107 bytes. Put it into a folder that only this process's user can write to. */
  readonly socket: string
  /** Users (uid) as whom nginx's workers run, besides root and this process's own: such as www-data. */
  readonly users?: readonly number[]
  /**
   * Hands a connection off, or says why not. It has as long as nginx's `xoffload_handoff_timeout`, 10 seconds by default: after that nginx ends
   * what is not frozen. When it rejects, that is reported, and nginx goes on if the connection is not frozen.
   */
  readonly onArrival: (arrival: NginxArrival) => Promise<NginxVerdict>
  /** Most connections that are dealt with at once; what comes then is refused. Default 1024. */
  readonly maximumInFlight?: number
  /** Most workers, those of an nginx that is being reloaded included. Default 256. */
  readonly maximumWorkers?: number
  /** Called with what is wrong with a worker or the handler. By default it is printed to stderr. */
  readonly onError?: (error: unknown) => void
}
