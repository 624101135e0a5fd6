import { join } from 'node:path'
import { type Adapter, startAdoptingNginx } from '../../deployment/adopting-nginx.ts'
import { Configuration, ports } from '../../deployment/configuration.ts'
import { editConfiguration } from '../../deployment/edit-configuration.ts'
import { buildNginxModule } from '../../deployment/nginx-module.ts'
import { command } from '../../deployment/programs.ts'
import type { Host } from '../../host.ts'
import type { HostProcess } from '../../host-process.ts'
import { Testbed } from '../../testbed.ts'
import { BRIEF, BRIEF_TIMEOUT, files } from './plan.ts'

const probe = join(import.meta.dir, 'heap-probe.ts')
/** The names of the servers. */
export const SERVERS = ['server1', 'server2'] as const
const WORKERS = 4
/** A connection is offered to the gateway after so many requests, and moves to the other server. */
const MOVE_AFTER = 2

/** A server: nginx, and the agent that gives connections to it. */
export interface AdoptingServer {
  readonly name: string
  readonly nginx: HostProcess
  readonly agent: HostProcess
}

/** Stock nginx at two servers behind a gateway, and a host for clients. */
export interface AdoptionHosts extends AsyncDisposable {
  readonly testbed: Testbed
  readonly gateway: HostProcess
  readonly servers: readonly AdoptingServer[]
}

export async function startAdoptionHosts(adapter: Adapter): Promise<AdoptionHosts> {
  if (adapter === 'module') await buildNginxModule()
  const testbed = await Testbed.create({ hosts: ['client', 'gateway', ...SERVERS], service: {} })
  try {
    if (testbed.service === undefined) throw new Error('the testbed has no service address')
    const gatewayHost = testbed.host('gateway')
    const hosts = SERVERS.map((name) => testbed.host(name))
    const configuration = await Configuration.create(gatewayHost, hosts, testbed.service)
    const servers = await Promise.all(hosts.map((host) => startAdoptingServer(host, configuration, adapter)))
    const file = await configuration.gatewayFile()
    editConfiguration(file, (config) => {
      for (const server of config.servers as { name: string; proxy: string }[])
        server.proxy = `${testbed.host(server.name).ipv4}:${ports.service}`
    })
    const gateway = startProbed(gatewayHost, 'gateway', file)
    for (const name of SERVERS) await gateway.line(new RegExp(`"event":"server-up".*"server":"${name}"`))
    await prepareClient(testbed.host('client'))
    return { testbed, gateway, servers, [Symbol.asyncDispose]: () => testbed.close() }
  } catch (error) {
    await testbed.close()
    throw error
  }
}

async function startAdoptingServer(
  host: Host,
  configuration: Configuration,
  adapter: Adapter,
): Promise<AdoptingServer> {
  const server = [`location = ${BRIEF} { keepalive_timeout ${BRIEF_TIMEOUT}ms; try_files /1k =404; }`]
  const options = { server, files, workers: WORKERS, every: MOVE_AFTER }
  const { nginx, file } = await startAdoptingNginx(host, configuration, adapter, options)
  const agent = startProbed(host, 'server', file)
  await agent.line(/"event":"server-program-up"/)
  return { name: host.name, nginx, agent }
}

/** `xoffload gateway` or `xoffload server`, which says at SIGUSR2 what its heap holds. */
function startProbed(host: Host, subcommand: string, file: string): HostProcess {
  return host.spawn([process.execPath, '--preload', probe, command, subcommand, '-c', file])
}

/** Ports for more connections than wait in TIME_WAIT. */
async function prepareClient(client: Host): Promise<void> {
  const script = [
    'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range',
    'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse',
  ].join('\n')
  await client.run(['/bin/sh', '-e'], { input: `${script}\n` })
}
