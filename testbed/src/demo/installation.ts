import { formatEndpoint } from '@xoffload/core'
import { Configuration, ports } from '../deployment/configuration.ts'
import { HandoffLog } from '../deployment/handoff-log.ts'
import { startGateway, startServer } from '../deployment/programs.ts'
import { TestbedError } from '../errors.ts'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { nginxProxy } from '../peers/nginx.ts'
import { Testbed } from '../testbed.ts'

/** The cases that are compared, as the figures name them. */
export const caseNames = ['nginx-proxy', 'xoffload', 'direct'] as const
export type CaseName = (typeof caseNames)[number]

/** One way from the client to the servers. */
export interface Case {
  readonly name: CaseName
  /** `http://address:port`. */
  readonly origin: string
  /** The program in the gateway's place, which the direct way does not have. */
  readonly gateway?: HostProcess
}

/** The hosts of the demo with everything running. */
export interface Installation {
  readonly testbed: Testbed
  readonly client: Host
  readonly cases: readonly Case[]
  readonly handoffs: HandoffLog
}

/**
 * nginx has a host of its own with the same place in the network as the gateway: otherwise each of its packets would pass the
 * gateway's BPF programs, and it would look slower than it is.
 */
const hostNames = ['client', 'gateway', 'proxy', 'server1', 'server2', 'server3', 'server4']

/** Builds the testbed of the demo. */
export function createTestbed(): Promise<Testbed> {
  return Testbed.create({ hosts: hostNames, service: { host: 'gateway' } })
}

/** Starts the four servers, the gateway and nginx, and waits until each is ready. */
export async function install(testbed: Testbed): Promise<Installation> {
  const { service } = testbed
  if (service === undefined) throw new TestbedError('The demo needs a testbed with a service address')
  const gatewayHost = testbed.host('gateway')
  const servers = testbed.hosts.filter((host) => host.name.startsWith('server'))
  const configuration = await Configuration.create(gatewayHost, servers, service)
  await Promise.all(servers.map((server) => startServer(server, configuration)))
  const upstreams = servers.map((server) => ({ address: server.ipv4, port: ports.application }))
  const proxyEndpoint = { address: testbed.host('proxy').ipv4, port: ports.proxy }
  const [gateway, proxy] = await Promise.all([
    startGateway(gatewayHost, servers, configuration),
    nginxProxy(testbed.host('proxy'), { listen: [proxyEndpoint], upstreams }),
  ])
  const cases: Case[] = [
    { name: 'nginx-proxy', origin: originOf(proxyEndpoint.address, proxyEndpoint.port), gateway: proxy },
    { name: 'xoffload', origin: originOf(service.ipv4, ports.service), gateway },
    { name: 'direct', origin: originOf(testbed.host('server1').ipv4, ports.application) },
  ]
  return { testbed, client: testbed.host('client'), cases, handoffs: new HandoffLog(gateway) }
}

function originOf(address: string, port: number): string {
  return `http://${formatEndpoint({ address, port })}`
}
