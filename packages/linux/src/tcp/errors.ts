import { XoffloadError } from '@xoffload/core'

/**
 * Why a connection cannot be moved: `state` (neither ESTABLISHED nor CLOSE_WAIT), `urgent-data` (unread RFC 9293 urgent data),
 * `queue-length` (a queue longer than `MAXIMUM_QUEUE_LENGTH`), `link-local` (addresses that mean something on one link only),
 * `protocol` (not plain TCP).
 */
export type UnsupportedConnectionReason = 'state' | 'urgent-data' | 'queue-length' | 'link-local' | 'protocol'

/** The connection is of a kind that cannot be moved to another host. It still works: serve it where it is. */
export class UnsupportedConnectionError extends XoffloadError {
  readonly reason: UnsupportedConnectionReason

  constructor(reason: UnsupportedConnectionReason, message: string) {
    super('UNSUPPORTED_CONNECTION', message)
    this.reason = reason
  }
}

/** Packets kept changing the connection while its snapshot was taken. Lock the flow first, or thaw the socket and try later. */
export class UnsettledConnectionError extends XoffloadError {
  constructor(attempts: number) {
    super(
      'UNSETTLED_CONNECTION',
      `the connection changed during each of ${attempts} attempts to take its snapshot: lock the flow before freezing, or try later`,
    )
  }
}
