import type { Extension, X509Certificate } from '@peculiar/x509'
import { loadX509 } from './library.ts'
import { CertificateError, readableName } from './name.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMilliseconds = 86_400_000
/** The clocks of two hosts differ: a certificate made now must be valid on a host whose clock is behind. */
const clockSkewMilliseconds = 3_600_000

/** A certificate and its private key, both PEM (RFC 7468; the key is PKCS #8). The key is a secret: never log it. */
export interface KeyPairPem {
  readonly certificate: string
  readonly key: string
}

/** A private certificate authority: the root that every host of one installation trusts. */
export interface Authority extends KeyPairPem {
  /** The subject's common name. */
  readonly name: string
}

/** What {@link createAuthority} takes besides a name. */
export interface AuthorityOptions {
  /** Days that the root is valid from now. Default 3650. */
  readonly days?: number
}

/** What {@link issueCertificate} makes. */
export interface IssueOptions {
  /** The host's name: the subject's common name and the one DNS name in subjectAltName. Letters, digits, `-`, `.` and `_`. */
  readonly name: string
  /** Days that the certificate is valid, from `notBefore` on. Default 825. */
  readonly days?: number
  /** Start of the validity. Default one hour ago, so that a host whose clock is behind accepts it. */
  readonly notBefore?: Date
}

/**
 * Makes a self-signed root (ECDSA P-256, `CA:TRUE`, path length 0: it signs hosts, not other authorities).
 * Throws {@link CertificateError} for a name that is no host name or a validity that is no positive number.
 */
export async function createAuthority(name: string, options: AuthorityOptions = {}): Promise<Authority> {
  const x509 = await loadX509()
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [readableName(name)] }],
    keys,
    signingAlgorithm: algorithm,
    serialNumber: serialNumber(),
    ...validity(options.days ?? 3650),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { name, certificate: pem(certificate), key: await privateKeyPem(keys.privateKey) }
}

/**
 * Makes a key pair and a certificate for one host, signed by `authority`. It serves both ends of a control channel: extended key
 * usage serverAuth and clientAuth (RFC 5280 section 4.2.1.12). Throws {@link CertificateError}.
 */
export async function issueCertificate(authority: KeyPairPem, options: IssueOptions): Promise<KeyPairPem> {
  const name = readableName(options.name)
  const x509 = await loadX509()
  const issuer = new x509.X509Certificate(authority.certificate)
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const extensions: Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
    new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  ]
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [name] }],
    issuer: issuer.subjectName.toJSON(),
    publicKey: keys.publicKey,
    signingKey: await importPrivateKey(authority.key),
    signingAlgorithm: algorithm,
    serialNumber: serialNumber(),
    ...validity(options.days ?? 825, options.notBefore),
    extensions,
  })
  return { certificate: pem(certificate), key: await privateKeyPem(keys.privateKey) }
}

function validity(days: number, notBefore?: Date): { notBefore: Date; notAfter: Date } {
  if (!Number.isFinite(days) || days <= 0) {
    throw new CertificateError(`a certificate cannot be valid for ${days} days: a number above 0 is expected`)
  }
  const start = notBefore ?? new Date(Date.now() - clockSkewMilliseconds)
  const end = notBefore === undefined ? Date.now() : notBefore.getTime()
  return { notBefore: start, notAfter: new Date(end + days * dayMilliseconds) }
}

/** RFC 5280 section 4.1.2.2: positive and at most 20 octets. A first byte of 0x40 to 0x7f is positive in DER and has no leading zero. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toHex()
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

async function privateKeyPem(key: CryptoKey): Promise<string> {
  const { PemConverter } = await loadX509()
  return `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), PemConverter.PrivateKeyTag)}\n`
}

async function importPrivateKey(text: string): Promise<CryptoKey> {
  const { PemConverter } = await loadX509()
  try {
    return await crypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(text), algorithm, false, ['sign'])
  } catch (cause) {
    // The cause may quote its input; the key must not get into a log.
    const kind = cause instanceof Error ? cause.name : 'unknown error'
    throw new CertificateError(`the authority's key is no ECDSA P-256 key in PKCS #8 PEM (${kind})`)
  }
}
