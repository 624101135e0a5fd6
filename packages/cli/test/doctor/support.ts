import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IssueOptions, KeyPairPem } from '../../src/certificates/index.ts'
import { createAuthority, issueCertificate, writeKeyPair } from '../../src/certificates/index.ts'
import { type GatewayConfig, loadConfig, type ServerConfig } from '../../src/config/index.ts'
import type { Check, Examined, Result } from '../../src/doctor/check.ts'

export const authority = await createAuthority('doctor-test')

/** What differs from a gateway or server that is in order. */
export interface Change {
  /** The name in the certificate. */
  readonly certificate?: Partial<IssueOptions>
  /** Signs the certificate instead of the authority in the file `ca`. */
  readonly signer?: KeyPairPem
  readonly keyMode?: number
  /** Keys of the configuration. */
  readonly config?: object
}

async function control(folder: string, { certificate, signer, keyMode = 0o600 }: Change) {
  const ca = await writeKeyPair(folder, 'ca', authority)
  const own = await writeKeyPair(
    folder,
    'own',
    await issueCertificate(signer ?? authority, { name: 'own', ...certificate }),
  )
  chmodSync(own.key, keyMode)
  return { ca: ca.certificate, certificate: own.certificate, key: own.key }
}

/** The configuration of a gateway with the name `own` and one server, in a file in `folder`. */
export async function gatewayConfig(folder: string, change: Change = {}): Promise<GatewayConfig> {
  const config = {
    name: 'own',
    device: 'lo',
    service: { address: '127.0.0.1', port: 1 },
    control: await control(folder, change),
    servers: [{ name: 'server1', control: '127.0.0.1:1' }],
    ...change.config,
  }
  return loadConfig('gateway', write(folder, config))
}

/** The configuration of a server with the name `own`, in a file in `folder`. */
export async function serverConfig(folder: string, change: Change = {}): Promise<ServerConfig> {
  const module = join(folder, 'application.ts')
  writeFileSync(module, '')
  const config = {
    name: 'own',
    device: 'lo',
    control: { listen: '127.0.0.1:1', gateways: ['gateway'], ...(await control(folder, change)) },
    services: [{ address: '192.0.2.1', port: 80 }],
    application: { module },
    ...change.config,
  }
  return loadConfig('server', write(folder, config))
}

function write(folder: string, config: object): string {
  const file = join(folder, 'xoffload.json')
  writeFileSync(file, JSON.stringify(config))
  return file
}

/** The result of a check that must have one. */
export async function resultOf(check: Check, examined: Examined): Promise<Result> {
  const result = await check.run(examined)
  if (result === undefined) throw new Error(`the check ${check.name} has nothing to say`)
  return result
}
