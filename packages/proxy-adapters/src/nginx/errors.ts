import { XoffloadError } from '@xoffload/core'

/**
 * `busy`: another process listens at the socket, or too many workers are connected. `refused`: a process of a user who is not trusted has
 * connected. `protocol`: a process said what the module does not say.
 */
export type NginxReason = 'busy' | 'refused' | 'protocol'

/** What is wrong with nginx's side; `message` says what to do. */
export class NginxError extends XoffloadError {
  readonly reason: NginxReason

  constructor(reason: NginxReason, message: string, options?: ErrorOptions) {
    super('NGINX', message, options)
    this.reason = reason
  }
}
