import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { errorText } from '@xoffload/core'
import { ControlError } from './errors.ts'

/** What a host shows and what it trusts on the control channel, all PEM. The key is a secret: never log it. */
export interface ControlCredentials {
  /** The authority that must have signed the peer's certificate. No other authority is trusted. */
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

/** Reads the three files. Throws {@link ControlError} `config` that names the file. */
export async function readCredentials(paths: ControlCredentials): Promise<ControlCredentials> {
  const read = async (what: string, path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8')
    } catch (cause) {
      throw new ControlError('config', `the ${what} ${path} cannot be read: ${errorText(cause)}`, { cause })
    }
  }
  // One after the other, so that the first one that is wrong is named.
  return {
    ca: await read('authority', paths.ca),
    certificate: await read('certificate', paths.certificate),
    key: await read('key', paths.key),
  }
}

/**
 * Finds out before any connection is made what would make each one fail. `name` is this host's own name, for which its certificate
 * must be. Throws {@link ControlError} `config`; never quotes the key.
 */
export function checkCredentials({ ca, certificate, key }: ControlCredentials, name: string): void {
  parse('authority', () => new X509Certificate(ca))
  const own = parse('certificate', () => new X509Certificate(certificate))
  const privateKey = parse('key', () => createPrivateKey(key))
  if (!own.checkPrivateKey(privateKey)) throw new ControlError('config', 'the key does not belong to the certificate')
  if (own.checkHost(name, { wildcards: false }) === undefined) {
    const shown = own.subjectAltName ?? own.subject
    throw new ControlError(
      'config',
      `the certificate is for ${JSON.stringify(shown)}, this host is called ${JSON.stringify(name)}`,
    )
  }
}

function parse<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch {
    // Without the cause, which may quote its input.
    throw new ControlError('config', `the ${what} is not in PEM form, or damaged`)
  }
}

/** The TLS options of both ends: TLS 1.3 (RFC 8446) only, a certificate of the authority demanded from the peer. */
export function tlsOptions(credentials: ControlCredentials): Bun.TLSOptions {
  return {
    ca: credentials.ca,
    cert: credentials.certificate,
    key: credentials.key,
    requestCert: true,
    rejectUnauthorized: true,
    secureOptions: constants.SSL_OP_NO_TLSv1 | constants.SSL_OP_NO_TLSv1_1 | constants.SSL_OP_NO_TLSv1_2,
  }
}

/** The part of a Bun TLS socket that tells who the peer is. */
export interface VerifiableSocket {
  readonly authorized: boolean
  getTLSVersion(): string
  getPeerX509Certificate(): X509Certificate | undefined
}

/**
 * The name out of `names` that the peer's verified certificate has: a DNS name in subjectAltName, or the common name where there is
 * none (RFC 6125 section 6.4.4). Wildcards match nothing. Throws {@link ControlError} `refused`.
 */
export function verifyPeer(socket: VerifiableSocket, error: Error | null, names: readonly string[]): string {
  if (error !== null || !socket.authorized) {
    throw new ControlError('refused', `the peer's certificate is not accepted: ${readableTlsError(error)}`)
  }
  const version = socket.getTLSVersion()
  if (version !== 'TLSv1.3') throw new ControlError('refused', `the peer speaks ${version}: TLSv1.3 is required`)
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) throw new ControlError('refused', 'the peer has shown no certificate')
  const name = names.find((candidate) => certificate.checkHost(candidate, { wildcards: false }) !== undefined)
  if (name !== undefined) return name
  const shown = certificate.subjectAltName ?? certificate.subject
  throw new ControlError(
    'refused',
    `the peer's certificate is for ${JSON.stringify(shown)}: ${names.join(' or ')} is expected`,
  )
}

/** BoringSSL's `error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE` as people write it. */
function readableTlsError(error: Error | null): string {
  if (error === null) return 'it was not verified'
  const reason = /^error:[0-9a-f]+:[^:]*:[^:]*:([A-Z0-9_]+)$/.exec(error.message)?.[1]
  return reason === undefined ? error.message : reason.toLowerCase().replaceAll('_', ' ')
}
