import { afterAll, expect, test } from 'bun:test'
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CertificateError,
  createAuthority,
  issueCertificate,
  writeKeyPair,
  writeSecret,
} from '../src/certificates/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'xoffload-certificates-'))
afterAll(() => rmSync(folder, { recursive: true }))

const authority = await createAuthority('test-authority')

async function openssl(...words: string[]): Promise<{ exitCode: number; output: string }> {
  const process = Bun.spawn(['openssl', ...words], { stdout: 'pipe', stderr: 'pipe' })
  const [output, errors] = await Promise.all([new Response(process.stdout).text(), new Response(process.stderr).text()])
  return { exitCode: await process.exited, output: output + errors }
}

test.each(['sslserver', 'sslclient'])('openssl accepts an issued certificate as %s', async (purpose) => {
  const ca = await writeKeyPair(folder, 'ca', authority)
  const host = await writeKeyPair(folder, 'host', await issueCertificate(authority, { name: 'host' }))
  const verify = [
    'verify',
    '-x509_strict',
    '-purpose',
    purpose,
    '-verify_hostname',
    'host',
    '-CAfile',
    ca.certificate,
    host.certificate,
  ]
  expect(await openssl(...verify)).toEqual({ exitCode: 0, output: `${host.certificate}: OK\n` })
})

test('openssl refuses the certificate of another authority with the same name', async () => {
  const ca = await writeKeyPair(folder, 'ca', authority)
  const stranger = await createAuthority('test-authority')
  const host = await writeKeyPair(folder, 'stranger', await issueCertificate(stranger, { name: 'host' }))
  expect((await openssl('verify', '-CAfile', ca.certificate, host.certificate)).exitCode).toBe(2)
})

test('openssl refuses a certificate that a host signed', async () => {
  const ca = await writeKeyPair(folder, 'ca', authority)
  const host = await issueCertificate(authority, { name: 'host' })
  const middle = await writeKeyPair(folder, 'middle', host)
  const forged = await writeKeyPair(folder, 'forged', await issueCertificate(host, { name: 'gateway' }))
  const result = await openssl(
    'verify',
    '-CAfile',
    ca.certificate,
    '-untrusted',
    middle.certificate,
    forged.certificate,
  )
  expect(result.exitCode).toBe(2)
})

test('an issued certificate names its host, both uses and its validity', async () => {
  const before = Date.now()
  const { certificate, key } = await issueCertificate(authority, { name: 's1.example', days: 30 })
  const parsed = new X509Certificate(certificate)
  expect(parsed.subject).toBe('CN=s1.example')
  expect(parsed.subjectAltName).toBe('DNS:s1.example')
  expect(parsed.issuer).toBe('CN=test-authority')
  expect(parsed.ca).toBe(false)
  expect(parsed.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  expect(parsed.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  expect(Date.parse(parsed.validFrom)).toBeLessThan(before - 3_590_000)
  expect(Math.abs(Date.parse(parsed.validTo) - before - 30 * 86_400_000)).toBeLessThan(60_000)
  expect(key).toStartWith('-----BEGIN PRIVATE KEY-----\n')
  expect(certificate).toEndWith('-----END CERTIFICATE-----\n')
})

test('serial numbers differ and are positive', async () => {
  const pairs = await Promise.all([1, 2, 3].map(() => issueCertificate(authority, { name: 'host' })))
  const serials = pairs.map(({ certificate }) => new X509Certificate(certificate).serialNumber)
  expect(new Set(serials).size).toBe(3)
  for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/)
})

test.each(['', 'a b', '../up', '*.example', 'a,DNS=b', '-a', 'a..b', 'x'.repeat(65)])(
  'a name that names no host: %j',
  async (name) => {
    await expect(issueCertificate(authority, { name })).rejects.toThrow(CertificateError)
    await expect(createAuthority(name)).rejects.toThrow('cannot name a host')
  },
)

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('a validity of %p days is refused', async (days) => {
  await expect(issueCertificate(authority, { name: 'host', days })).rejects.toThrow('a number above 0 is expected')
})

test('a damaged key is refused without being quoted', async () => {
  const key = authority.key.replace(/[A-Za-z0-9]{20}/, 'AAAAAAAAAAAAAAAAAAAA')
  const error = await issueCertificate({ ...authority, key }, { name: 'host' }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(CertificateError)
  expect(Bun.inspect(error)).not.toContain(key.split('\n')[1] ?? '')
})

test('files are readable by their owner only, also when they replace others', async () => {
  const pair = await issueCertificate(authority, { name: 'mode' })
  writeFileSync(join(folder, 'mode.key'), 'old')
  chmodSync(join(folder, 'mode.key'), 0o644)
  const files = await writeKeyPair(folder, 'mode', pair)
  expect(files).toEqual({ certificate: join(folder, 'mode.crt'), key: join(folder, 'mode.key') })
  for (const path of Object.values(files)) expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(await Bun.file(files.key).text()).toBe(pair.key)
})

test('a symbolic link is replaced, not followed', async () => {
  const [target, link] = [join(folder, 'target'), join(folder, 'link')]
  writeFileSync(target, 'untouched')
  symlinkSync(target, link)
  await writeSecret(link, 'secret')
  expect(await Bun.file(target).text()).toBe('untouched')
  expect(await Bun.file(link).text()).toBe('secret')
})

test('a folder that cannot be made is named, and no temporary file stays', async () => {
  writeFileSync(join(folder, 'file'), '')
  await expect(writeSecret(join(folder, 'file', 'secret'), 'x')).rejects.toThrow(
    `${join(folder, 'file', 'secret')} cannot be written`,
  )
})
