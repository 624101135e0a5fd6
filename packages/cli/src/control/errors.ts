import { XoffloadError } from '@xoffload/core'

/**
 * Why a control channel ended or never came up:
 * `unreachable` (no TCP connection), `refused` (a certificate, its name or the TLS version is not acceptable), `protocol` (a frame or
 * a hello that is not what it should be), `dead` (no sign of life, or nothing of what is sent is taken), `lost` (the peer or the
 * network closed it), `replaced` (the same peer connected again), `closed` (this side closed it), `full` (the outgoing buffer has no
 * room), `oversize` (a message longer than the limit), `handler` (the receiver of messages threw; see `cause`), `config` (certificate, key or address cannot be used).
 */
export type ControlErrorReason =
  | 'unreachable'
  | 'refused'
  | 'protocol'
  | 'dead'
  | 'lost'
  | 'replaced'
  | 'closed'
  | 'full'
  | 'oversize'
  | 'handler'
  | 'config'

/** Thrown by, and reported for, the control channel. */
export class ControlError extends XoffloadError {
  readonly reason: ControlErrorReason

  constructor(reason: ControlErrorReason, message: string, options?: ErrorOptions) {
    super(`CONTROL_${reason.toUpperCase()}`, message, options)
    this.reason = reason
  }
}
