import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatEndpoint } from '@xoffload/core'
import type { Authority } from 'xoffload'
import { createAuthority, issueCertificate, writeKeyPair, writeSecret } from 'xoffload'
import type { ServiceAddress } from '../address-plan.ts'
import type { Host } from '../host.ts'

/** Ports of a deployment. Each host has all of them to itself. */
export const ports = { service: 80, proxy: 80, application: 8080, control: 7900 } as const

/** Writes the configuration files of one installation: `gateway`, and `servers` behind it. */
export class Configuration {
  readonly #authority: Authority
  readonly #gateway: Host
  readonly #servers: readonly Host[]
  readonly #service: ServiceAddress

  private constructor(authority: Authority, gateway: Host, servers: readonly Host[], service: ServiceAddress) {
    this.#authority = authority
    this.#gateway = gateway
    this.#servers = servers
    this.#service = service
  }

  /** Makes the installation's certificate authority. */
  static async create(gateway: Host, servers: readonly Host[], service: ServiceAddress): Promise<Configuration> {
    return new Configuration(await createAuthority('testbed'), gateway, servers, service)
  }

  /** Writes the gateway's file with its certificate and returns its path. */
  async gatewayFile(): Promise<string> {
    return this.#write(this.#gateway, {
      name: this.#gateway.name,
      device: this.#gateway.device,
      log: 'handoffs',
      service: { addresses: [this.#service.ipv4, this.#service.ipv6], port: ports.service },
      control: await this.#control(this.#gateway),
      servers: this.#servers.map((server) => ({
        name: server.name,
        control: formatEndpoint({ address: server.ipv4, port: ports.control }),
        proxy: formatEndpoint({ address: server.ipv4, port: ports.application }),
      })),
    })
  }

  /** Writes the file of a server with its certificate and returns its path. */
  async serverFile(server: Host): Promise<string> {
    return this.#write(server, {
      name: server.name,
      device: server.device,
      control: {
        listen: formatEndpoint({ address: server.ipv4, port: ports.control }),
        gateways: [this.#gateway.name],
        ...(await this.#control(server)),
      },
      services: [this.#service.ipv4, this.#service.ipv6].map((address) => ({ address, port: ports.service })),
      application: {
        module: join(import.meta.dir, 'application.ts'),
        listen: formatEndpoint({ address: server.ipv4, port: ports.application }),
      },
    })
  }

  async #control(host: Host): Promise<{ ca: string; certificate: string; key: string }> {
    const ca = join(host.directory, 'authority.crt')
    await writeSecret(ca, this.#authority.certificate)
    const pair = await issueCertificate(this.#authority, { name: host.name })
    return { ca, ...(await writeKeyPair(host.directory, host.name, pair)) }
  }

  #write(host: Host, configuration: object): string {
    const file = join(host.directory, 'xoffload.json')
    writeFileSync(file, `${JSON.stringify(configuration, undefined, 2)}\n`)
    return file
  }
}
