/** The base of every error that xoffload throws on purpose. `code` is stable and meant for programs, `message` says what to do. */
export class XoffloadError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** Bytes from outside that are not what they claim to be: too long, too short, unknown version, a value out of range. */
export class CodecError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('CODEC', message, options)
  }
}

/**
 * Why a redirector refused:
 * `unsupported` (the kernel or the device cannot do it), `full` (no room for another flow), `busy` (try again later),
 * `gone` (the device or the redirector is no longer there), `permission` (a capability is missing), `invalid` (bad argument).
 */
export type RedirectorErrorCode = 'unsupported' | 'full' | 'busy' | 'gone' | 'permission' | 'invalid'

/** Thrown by every {@link Redirector} operation that does not succeed. `reason` carries the kernel's or the driver's own words. */
export class RedirectorError extends XoffloadError {
  readonly reason: RedirectorErrorCode

  constructor(reason: RedirectorErrorCode, message: string, options?: ErrorOptions) {
    super(`REDIRECTOR_${reason.toUpperCase()}`, message, options)
    this.reason = reason
  }
}
