import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { Configuration, ports } from '../deployment/configuration.ts'
import { editConfiguration } from '../deployment/edit-configuration.ts'
import { type HandoffRecord, parseHandoff } from '../deployment/handoff-log.ts'
import { startGateway, startServer } from '../deployment/programs.ts'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { type CephCluster, cephCluster, objectGateway } from '../peers/ceph.ts'
import { Testbed } from '../testbed.ts'

/** Else the body of each short answer waits for the acknowledgement of its head, 40 ms. */
const frontend = ['tcp_nodelay=1']
const SERVERS = ['server1', 'server2']

/** One of the servers behind the gateway. */
export interface CephServer {
  readonly host: Host
  readonly radosgw: HostProcess
  readonly agent: HostProcess
}

/** A Ceph cluster with object gateways (radosgw) behind an xoffload gateway, and one that clients reach directly. */
export interface CephInstallation extends AsyncDisposable {
  readonly testbed: Testbed
  readonly client: Host
  readonly cluster: CephCluster
  readonly gateway: HostProcess
  readonly servers: readonly CephServer[]
  /** The object gateway that knows of nothing, on a host of its own. */
  readonly plain: string
  /** Where the gateway listens. */
  readonly address: string
  /** The path of the control API's socket. */
  readonly api: string
  /** What the gateway has logged until now. */
  readonly handoffs: readonly HandoffRecord[]
}

/** Starts it all. `every`: connections are offered to the gateway after so many requests; without it, never. */
export async function startCeph({ every }: { readonly every?: number } = {}): Promise<CephInstallation> {
  const hosts = ['client', 'gateway', 'store', 'plain', ...SERVERS]
  const testbed = await Testbed.create({ hosts, service: {} })
  try {
    const plain = testbed.host('plain')
    const hostsOfServers = SERVERS.map((name) => testbed.host(name))
    const cluster = await cephCluster(testbed.host('store'), [plain, ...hostsOfServers])
    await objectGateway(plain, cluster, { port: ports.service, frontend })
    const { gateway, servers } = await startProxies(testbed, hostsOfServers, cluster, every)
    return {
      testbed,
      client: testbed.host('client'),
      cluster,
      gateway,
      servers,
      plain: plain.ipv4,
      address: testbed.service?.ipv4 ?? '',
      api: apiSocket(testbed),
      handoffs: followHandoffs(gateway),
      [Symbol.asyncDispose]: () => testbed.close(),
    }
  } catch (error) {
    await testbed.close()
    throw error
  }
}

function apiSocket(testbed: Testbed): string {
  return join(testbed.host('gateway').directory, 'api.sock')
}

async function startProxies(testbed: Testbed, hosts: readonly Host[], cluster: CephCluster, every: number | undefined) {
  if (testbed.service === undefined) throw new Error('The testbed was made without a service address')
  const host = testbed.host('gateway')
  const configuration = await Configuration.create(host, hosts, testbed.service)
  const servers = await Promise.all(hosts.map((server) => startCephServer(server, configuration, cluster, every)))
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) => {
    config.api = { listen: `unix:${apiSocket(testbed)}` }
    config.service = { address: testbed.service?.ipv4, port: ports.service }
    for (const server of config.servers as { name: string; proxy: string }[])
      server.proxy = `${testbed.host(server.name).ipv4}:${ports.service}`
  })
  return { servers, gateway: await startGateway(host, hosts, configuration, file) }
}

async function startCephServer(
  host: Host,
  configuration: Configuration,
  cluster: CephCluster,
  every: number | undefined,
): Promise<CephServer> {
  const socket = join(host.directory, 'radosgw.sock')
  // It connects as the user ceph.
  chmodSync(host.directory, 0o755)
  const radosgw = await objectGateway(host, cluster, { port: ports.service, frontend, env: preloadEnvironment(socket) })
  const file = await configuration.serverFile(host)
  editConfiguration(file, (config) => {
    // radosgw listens twice, for IPv4 and for IPv6; the agent knocks at one of both.
    config.services = (config.services as { address: string }[]).filter(({ address }) => !address.includes(':'))
    config.application = { preload: { socket, listener: `0.0.0.0:${ports.service}`, users: ['ceph'] } }
    if (every !== undefined) config.moves = { requests: every }
  })
  const agent = await startServer(host, configuration, file)
  await agent.line(/"event":"server-program-up"/)
  return { host, radosgw, agent }
}

function followHandoffs(gateway: HostProcess): HandoffRecord[] {
  const handoffs: HandoffRecord[] = []
  gateway.stdout.onLine((line) => {
    const record = parseHandoff(line)
    if (record !== undefined) handoffs.push(record)
  })
  return handoffs
}
