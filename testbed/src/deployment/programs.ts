import { join } from 'node:path'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { type Configuration, ports } from './configuration.ts'

/** The `xoffload` command, for Bun. */
export const command = join(import.meta.dir, '../../../packages/cli/src/bin.ts')
const connectClient = join(import.meta.dir, 'connect-client.ts')

/** Starts a server agent with the testbed's application and waits until it is ready. `configured`: a file that was written before. */
export async function startServer(host: Host, configuration: Configuration, configured?: string): Promise<HostProcess> {
  const file = configured ?? (await configuration.serverFile(host))
  const agent = host.spawn([process.execPath, command, 'server', '-c', file], {
    env: { XOFFLOAD_SERVED_BY: host.name },
  })
  await agent.line(/"event":"ready"/)
  return agent
}

/** Starts a gateway and waits until it is ready and every server is connected. */
export async function startGateway(
  host: Host,
  servers: readonly Host[],
  configuration: Configuration,
  configured?: string,
): Promise<HostProcess> {
  const gateway = host.spawn([
    process.execPath,
    command,
    'gateway',
    '-c',
    configured ?? (await configuration.gatewayFile()),
  ])
  await gateway.line(/"event":"ready"/)
  for (const { name } of servers) await gateway.line(new RegExp(`"event":"server-up".*"server":"${name}"`))
  return gateway
}

/** Starts a client of many short connections, `concurrency` at once. When all are done it prints a `ConnectReport`. */
export function startConnectClient(host: Host, address: string, connections: number, concurrency: number): HostProcess {
  return host.spawn([process.execPath, connectClient, address, `${ports.service}`, `${connections}`, `${concurrency}`])
}
