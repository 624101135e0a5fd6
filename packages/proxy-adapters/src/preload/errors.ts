import { XoffloadError } from '@xoffload/core'

/**
 * `no-listener`: nobody listens where the server program should. `not-loaded`: whoever listens there does not have the shim. `timeout`:
 * the program did not accept in time. `refused`: it did not take the connection. `busy`: too many connections wait for it. `closed`:
 * the `PreloadServer` is. `protocol`: a process said what no shim says.
 */
export type PreloadReason = 'no-listener' | 'not-loaded' | 'timeout' | 'refused' | 'busy' | 'closed' | 'protocol'

/** A server program cannot be given a connection; `message` says what to do. */
export class PreloadError extends XoffloadError {
  readonly reason: PreloadReason

  constructor(reason: PreloadReason, message: string, options?: ErrorOptions) {
    super('PRELOAD', message, options)
    this.reason = reason
  }
}
