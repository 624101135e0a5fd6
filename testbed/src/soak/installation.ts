import { join } from 'node:path'
import { Configuration } from '../deployment/configuration.ts'
import { editConfiguration } from '../deployment/edit-configuration.ts'
import { startGateway, startServer } from '../deployment/programs.ts'
import { type LinkFaultSettings, LinkFaults } from '../faults/index.ts'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { Testbed } from '../testbed.ts'

/** After how many requests each server yields its connections. */
const MOVES = [1, 2, 3] as const
const application = join(import.meta.dir, 'application.ts')

/** What the links do. A frame may be a burst of some 40 packets, so losing one of a thousand is much. */
const CLIENT_LINK: Partial<LinkFaultSettings> = {
  lossPerMillion: 2000,
  duplicatePerMillion: 5000,
  reorderPerMillion: 10_000,
  reorderMicroseconds: 1500,
  delayMicroseconds: 200,
  jitterMicroseconds: 300,
}
/** The control channels pass these. */
const INNER_LINK: Partial<LinkFaultSettings> = {
  lossPerMillion: 500,
  duplicatePerMillion: 2000,
  reorderPerMillion: 5000,
  reorderMicroseconds: 500,
  delayMicroseconds: 50,
  jitterMicroseconds: 100,
}

/** A gateway and servers that pass connections around, with bad links. */
export interface Installation extends AsyncDisposable {
  readonly testbed: Testbed
  readonly gateway: HostProcess
  readonly servers: readonly HostProcess[]
  readonly serverNames: readonly string[]
  /** The path of the control API's socket. */
  readonly api: string
  /** The faults by host. */
  readonly faults: ReadonlyMap<string, LinkFaults>
}

/** Builds all of it. The faults follow from the seed. */
export async function install(seed: number): Promise<Installation> {
  const serverNames = MOVES.map((_, index) => `server${index + 1}`)
  const testbed = await Testbed.create({ hosts: ['client', 'gateway', ...serverNames], service: {} })
  try {
    const { service } = testbed
    if (service === undefined) throw new Error('the testbed has no service address')
    const gatewayHost = testbed.host('gateway')
    const hosts = serverNames.map((name) => testbed.host(name))
    const configuration = await Configuration.create(gatewayHost, hosts, service)
    const servers = await Promise.all(hosts.map((host, index) => startSoakServer(host, configuration, MOVES[index])))
    const api = join(gatewayHost.directory, 'api.sock')
    const file = await configuration.gatewayFile()
    editConfiguration(file, (config) => Object.assign(config, { api: { listen: `unix:${api}` } }))
    const gateway = await startGateway(gatewayHost, hosts, configuration, file)
    const faults = await attachFaults(testbed, seed)
    return { testbed, gateway, servers, serverNames, api, faults, [Symbol.asyncDispose]: () => testbed.close() }
  } catch (error) {
    await testbed.close()
    throw error
  }
}

async function startSoakServer(host: Host, configuration: Configuration, requests?: number): Promise<HostProcess> {
  const file = await configuration.serverFile(host)
  editConfiguration(file, (config) => {
    Object.assign(config.application as object, { module: application })
    Object.assign(config, { moves: { requests } })
  })
  return startServer(host, configuration, file)
}

async function attachFaults(testbed: Testbed, seed: number): Promise<Map<string, LinkFaults>> {
  const faults = new Map<string, LinkFaults>()
  for (const [index, host] of testbed.hosts.entries()) {
    const settings = host.name === 'client' ? CLIENT_LINK : INNER_LINK
    faults.set(host.name, await LinkFaults.attach(host, { ...settings, seed: seed + index }))
  }
  return faults
}
