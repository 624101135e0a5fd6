import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Configuration, ports } from '../deployment/configuration.ts'
import { PauseWatch, type Withheld, withoutPauses } from '../pauses/pauses.ts'
import { type SeenSegment, Sniffer } from '../sniffer.ts'
import { Testbed } from '../testbed.ts'
import type { RampReport } from './client.ts'
import type { OriginReport } from './origin.ts'
import type { Sabotage } from './sabotage.ts'
import type { TargetReport } from './target.ts'

/** What to move. */
export interface RampOptions {
  readonly connections: number
  /** Connections at once. */
  readonly concurrency: number
  readonly servers?: number
  /** Address family of the service, default 4. */
  readonly family?: 4 | 6
  /** What to break, so that a test can show that it notices. */
  readonly sabotage?: Sabotage
  /** Milliseconds that the commit is late. */
  readonly steerDelay?: number
  /** Bytes of the download that each origin writes when its flow is locked: its snapshot has them in the send queue. */
  readonly unacknowledged?: number
  /** Let packets of the client pass the lock once the snapshot is taken, as those do that were on their way through the kernel. */
  readonly latePackets?: boolean
  /** Watch the wire at the client. */
  readonly sniff?: boolean
}

/** A moment in a handoff, milliseconds since the epoch. */
export interface Trace {
  readonly trace: 'frozen' | 'steered'
  readonly flow: string
  readonly at: number
}

/** What all programs of a run saw. */
export interface RampRun {
  readonly client: RampReport
  readonly withheld: Withheld
  readonly origin: OriginReport
  readonly targets: readonly TargetReport[]
  /** RST that the hosts' network stacks sent: `Tcp: OutRsts` of /proc/net/snmp. */
  readonly resets: { readonly gateway: number; readonly servers: number }
  /** Only with `sniff`. */
  readonly traces: readonly Trace[]
  readonly segments: readonly SeenSegment[]
  readonly macs: { readonly gateway: string; readonly servers: readonly string[] }
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
  const env = {
    ...(options.sabotage !== undefined && { XOFFLOAD_SABOTAGE: options.sabotage }),
    ...(options.steerDelay !== undefined && { XOFFLOAD_STEER_DELAY: `${options.steerDelay}` }),
    ...(options.unacknowledged !== undefined && { XOFFLOAD_UNACKNOWLEDGED: `${options.unacknowledged}` }),
    ...(options.latePackets && { XOFFLOAD_LATE_PACKETS: '1' }),
    ...(options.sniff && { XOFFLOAD_TRACE: '1' }),
  }
  const targets = await Promise.all(
    servers.map(async (server) =>
      server.spawn([process.execPath, program('target'), await configuration.serverFile(server)], { env }),
    ),
  )
  await Promise.all(targets.map((target) => target.line(/"ready"/)))
  const origin = gateway.spawn([process.execPath, program('origin'), await configuration.gatewayFile()], { env })
  const traces: Trace[] = []
  origin.stdout.onLine((line) => {
    if (line.startsWith('{"trace"')) traces.push(JSON.parse(line))
  })
  await origin.line(/"ready"/)
  using sniffer = options.sniff ? new Sniffer(testbed.host('client')) : undefined
  const pauseWatch = await PauseWatch.start(gateway)
  const address = options.family === 6 ? service.ipv6 : service.ipv4
  const client = testbed
    .host('client')
    .spawn([
      process.execPath,
      program('client'),
      address,
      `${ports.service}`,
      `${options.connections}`,
      `${options.concurrency}`,
    ])
  const clientReport = await client.line(/"completed"/, { timeout: 600_000 })
  sniffer?.drain()
  const withheld = await pauseWatch.stop()
  const resets = {
    gateway: sentResets(origin.pid),
    servers: targets.reduce((sum, { pid }) => sum + sentResets(pid), 0),
  }
  origin.signal('SIGTERM')
  const originReport: OriginReport = JSON.parse(await origin.line(/"handedOff"/))
  for (const target of targets) target.signal('SIGTERM')
  const targetReports: TargetReport[] = await Promise.all(
    targets.map(async (target) => JSON.parse(await target.line(/"adopted"/))),
  )
  return {
    client: JSON.parse(clientReport),
    withheld,
    origin: originReport,
    targets: targetReports,
    resets,
    traces,
    segments: sniffer?.segments ?? [],
    macs: { gateway: `${gateway.mac}`, servers: servers.map(({ mac }) => `${mac}`) },
  }
}

/**
 * The longest time without progress of a connection, milliseconds, as it would have been on a machine of its own: without the part in which this
 * one stood still, and shorter by the share of the CPU time that was stolen, as most pauses are too short to be noted one by one.
 */
export function longestStall({ client, withheld }: RampRun): number {
  if (client.failures.length > 0) return Number.POSITIVE_INFINITY
  if (client.long.length === 0) return client.stalls.at(-1) ?? 0
  return Math.max(...client.long.map((stall) => withoutPauses(stall, withheld.pauses))) * (1 - withheld.stolen)
}

function sentResets(pid: number): number {
  const [names = '', values = ''] = readFileSync(`/proc/${pid}/net/snmp`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
  return Number(values.split(' ')[names.split(' ').indexOf('OutRsts')])
}

function program(name: string): string {
  return join(import.meta.dir, `${name}.ts`)
}
