import { XoffloadError } from '@xoffload/core'

/** A certificate or its key cannot be made, read or written. Never quotes a key. */
export class CertificateError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('CERTIFICATE', message, options)
  }
}

/** The form of a host's name in a configuration and in its certificate: labels of letters, digits, `-` and `_`, joined by dots. */
export const hostNamePattern =
  '^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$'

/** The longest common name that X.509 allows (RFC 5280 appendix A.1, ub-common-name). */
export const maximumNameLength = 64

/** The name when it can stand in a certificate and name a file. Throws {@link CertificateError}. */
export function readableName(name: string): string {
  if (name.length > maximumNameLength || !new RegExp(hostNamePattern).test(name)) {
    throw new CertificateError(
      `${JSON.stringify(name)} cannot name a host: at most ${maximumNameLength} letters, digits, "-", "_" and "." are expected`,
    )
  }
  return name
}
