import { XoffloadError } from '@xoffload/core'

/**
 * The status codes with which a server refuses bytes that are not an acceptable request: 400 malformed, 413 body too large,
 * 414 request target too long, 417 unknown expectation, 431 head too large, 501 unknown transfer coding, 505 unknown version.
 */
export type RefusalStatus = 400 | 413 | 414 | 417 | 431 | 501 | 505

/** Why bytes were refused. After a refusal the boundary of the next request is unknown: answer with `status` and close. */
export interface Refusal {
  readonly kind: 'error'
  readonly status: RefusalStatus
  /** A short English sentence without any byte of the request in it, so that it can be logged and sent. */
  readonly reason: string
}

/** A function that cannot return a {@link Refusal} throws it as this error. */
export class HttpSyntaxError extends XoffloadError {
  readonly status: RefusalStatus

  constructor(refusal: Refusal) {
    super('HTTP_SYNTAX', refusal.reason)
    this.status = refusal.status
  }
}

/** Builds a {@link Refusal}. */
export function refuse(status: RefusalStatus, reason: string): Refusal {
  return { kind: 'error', status, reason }
}
