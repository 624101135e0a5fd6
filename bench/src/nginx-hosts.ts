import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Endpoint } from '@xoffload/core'
import {
  type Adapter,
  Configuration,
  editConfiguration,
  type Host,
  type HostProcess,
  haproxy,
  nginxProxy,
  nginxServer,
  ports,
  startAdoptingNginx,
  startGateway,
  startServer,
  Testbed,
  TestbedError,
} from '@xoffload/testbed'

/** After how many requests a connection moves on to the next server; `never` after its first handoff. */
export type Every = number | 'never'

export interface HandoffOptions {
  readonly every: Every
  readonly adapter: Adapter
  /** Of the files, in bytes. */
  readonly sizes: readonly number[]
}

/** What is measured: a way to the servers. */
export interface Case {
  readonly name: string
  readonly figure: { readonly case: string; readonly every?: Every; readonly adapter?: Adapter }
  readonly client: Host
  /** Where the service is; paths are appended. */
  readonly url: string
  /** All servers, when the client goes to them itself. */
  readonly addresses?: readonly Endpoint[]
  /** Must be running at every measurement. */
  readonly programs: readonly HostProcess[]
  /** What the gateway has done so far; undefined without one. */
  readonly counts?: () => Promise<GatewayCounts>
}

export interface GatewayCounts {
  /** Handoffs by what became of them. */
  readonly handoffs: Readonly<Record<string, number>>
  /** Connections that the gateway served as a proxy. */
  readonly relayed: number
}

const SERVERS = ['server1', 'server2', 'server3', 'server4']
/** The processes of each nginx and the threads of HAProxy: one for each core. */
const WORKERS = availableParallelism()
/** nginx closes a connection after so many requests, 1,000 unless told otherwise: that would hide what a connection costs that lasts. */
const LASTING = 'keepalive_requests 1000000000;'
/** nginx as a proxy at its best: with its default buffers it writes large responses to files before it sends them. */
const LARGE_BUFFERS = [
  'proxy_buffer_size 64k;',
  'proxy_buffers 16 64k;',
  'proxy_busy_buffers_size 128k;',
  'proxy_max_temp_file_size 0;',
]

/** The path of the file of so many bytes. */
export function pathOf(size: number): string {
  return `/${size}`
}

/** nginx on four servers, as it is; two proxies before them, and a client that can ask them itself. */
export async function ordinaryCases(testbeds: AsyncDisposableStack, sizes: readonly number[]): Promise<Case[]> {
  const testbed = await Testbed.create({ hosts: ['client', 'nginx', 'haproxy', ...SERVERS] })
  testbeds.use(testbed)
  const client = testbed.host('client')
  const hosts = SERVERS.map((name) => testbed.host(name))
  const servers = await Promise.all(hosts.map((host) => server(host, sizes)))
  const upstreams = hosts.map((host) => ({ address: host.ipv4, port: ports.service }))
  const at = (name: string) => ({ address: testbed.host(name).ipv4, port: ports.proxy })
  const nginx = await nginxProxy(testbed.host('nginx'), {
    listen: [at('nginx')],
    upstreams,
    workers: WORKERS,
    http: [LASTING, ...LARGE_BUFFERS],
    upstream: [LASTING],
  })
  const options = { listen: [at('haproxy')], upstreams, threads: WORKERS }
  const other = await haproxy(testbed.host('haproxy'), options)
  const ordinary = (name: string, endpoint: Endpoint | undefined, programs: readonly HostProcess[]): Case => ({
    name,
    figure: { case: name },
    client,
    url: `http://${endpoint?.address}:${endpoint?.port}`,
    programs: [...programs, ...servers],
  })
  return [
    ordinary('nginx-proxy', at('nginx'), [nginx]),
    ordinary('haproxy', at('haproxy'), [other]),
    ordinary('direct', upstreams[0], []),
    { ...ordinary('direct-4', upstreams[0], []), addresses: upstreams },
  ]
}

/** The same servers, which a gateway hands its connections to. */
export async function handoffCase(testbeds: AsyncDisposableStack, options: HandoffOptions): Promise<Case> {
  const { every, adapter } = options
  const testbed = await Testbed.create({ hosts: ['client', 'gateway', ...SERVERS], service: {} })
  testbeds.use(testbed)
  const { service } = testbed
  if (service === undefined) throw new TestbedError('the testbed has no service address')
  const gatewayHost = testbed.host('gateway')
  const hosts = SERVERS.map((name) => testbed.host(name))
  const configuration = await Configuration.create(gatewayHost, hosts, service)
  const programs = await Promise.all(hosts.map((host) => adoptingServer(host, configuration, options)))
  const socket = join(gatewayHost.directory, 'api.sock')
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) => {
    // A line for each handoff would be an access log.
    Object.assign(config, { log: 'info', api: { listen: `unix:${socket}` } })
    for (const entry of config.servers as { name: string; proxy: string }[])
      entry.proxy = `${testbed.host(entry.name).ipv4}:${ports.service}`
  })
  const gateway = await startGateway(gatewayHost, hosts, configuration, file)
  return {
    name: `every ${every}, ${adapter}`,
    figure: { case: 'xoffload', every, adapter },
    client: testbed.host('client'),
    url: `http://${service.ipv4}`,
    programs: [gateway, ...programs.flat()],
    counts: () => gatewayCounts(socket),
  }
}

async function adoptingServer(
  host: Host,
  configuration: Configuration,
  { every, adapter, sizes }: HandoffOptions,
): Promise<HostProcess[]> {
  const { nginx, file } = await startAdoptingNginx(host, configuration, adapter, {
    workers: WORKERS,
    http: [LASTING],
    files: filesOf(sizes),
    every: every === 'never' ? undefined : every,
  })
  const agent = await startServer(host, configuration, file)
  await agent.line(/"event":"server-program-up"/)
  return [nginx, agent]
}

/** Stock nginx with a file of each size. */
function server(host: Host, sizes: readonly number[]): Promise<HostProcess> {
  const port = ports.service
  const listen = [`[::]:${port} ipv6only=off`]
  return nginxServer(host, { port, listen, workers: WORKERS, http: [LASTING], files: filesOf(sizes) })
}

function filesOf(sizes: readonly number[]): Record<string, Uint8Array> {
  return Object.fromEntries(sizes.map((size) => [pathOf(size), new Uint8Array(size).fill(0x61)]))
}

async function gatewayCounts(socket: string): Promise<GatewayCounts> {
  const response = await fetch('http://gateway/metrics', { unix: socket })
  if (!response.ok) throw new TestbedError(`the gateway does not tell its metrics: status ${response.status}`)
  const text = await response.text()
  const handoffs: Record<string, number> = {}
  for (const [, result = '', count] of text.matchAll(/^xoffload_handoffs_total\{.*result="([^"]+)".*\} (\d+)$/gm)) {
    handoffs[result] = (handoffs[result] ?? 0) + Number(count)
  }
  const relayed = Number(/^xoffload_relayed_connections_total (\d+)$/m.exec(text)?.[1])
  return { handoffs, relayed }
}
