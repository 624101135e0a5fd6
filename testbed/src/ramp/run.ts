import { join } from 'node:path'
import { Configuration, ports } from '../deployment/configuration.ts'
import { Testbed } from '../testbed.ts'
import type { RampReport } from './client.ts'
import type { OriginReport } from './origin.ts'
import type { TargetReport } from './target.ts'

/** What to move. */
export interface RampOptions {
  readonly connections: number
  /** Connections at once. */
  readonly concurrency: number
  readonly servers?: number
  /** Address family of the service, default 4. */
  readonly family?: 4 | 6
}

/** What all programs of a run saw. */
export interface RampRun {
  readonly client: RampReport
  readonly origin: OriginReport
  readonly targets: readonly TargetReport[]
}

/**
 * Moves connections from a gateway to servers while the ramp streams through them in both directions, on a testbed of its own. The
 * programs check every byte; the reports say what they saw.
 */
export async function runRamp(options: RampOptions): Promise<RampRun> {
  const names = Array.from({ length: options.servers ?? 2 }, (_, index) => `server${index + 1}`)
  await using testbed = await Testbed.create({ hosts: ['client', 'gateway', ...names], service: {} })
  const service = testbed.service
  if (service === undefined) throw new Error('the testbed has no service address')
  const gateway = testbed.host('gateway')
  const servers = names.map((name) => testbed.host(name))
  const configuration = await Configuration.create(gateway, servers, service)
  const targets = await Promise.all(
    servers.map(async (server) => server.spawn([process.execPath, program('target'), await configuration.serverFile(server)])),
  )
  await Promise.all(targets.map((target) => target.line(/"ready"/)))
  const origin = gateway.spawn([process.execPath, program('origin'), await configuration.gatewayFile()])
  await origin.line(/"ready"/)
  const address = options.family === 6 ? service.ipv6 : service.ipv4
  const client = testbed.host('client').spawn([
    process.execPath,
    program('client'),
    address,
    `${ports.service}`,
    `${options.connections}`,
    `${options.concurrency}`,
  ])
  const clientReport = await client.line(/"completed"/, { timeout: 600_000 })
  origin.signal('SIGTERM')
  for (const target of targets) target.signal('SIGTERM')
  return {
    client: JSON.parse(clientReport),
    origin: JSON.parse(await origin.line(/"handedOff"/)),
    targets: await Promise.all(targets.map(async (target) => JSON.parse(await target.line(/"adopted"/)))),
  }
}

function program(name: string): string {
  return join(import.meta.dir, `${name}.ts`)
}
