import { join } from 'node:path'
import type { Endpoint } from '@xoffload/core'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'

const program = join(import.meta.dir, 'agent.ts')

export interface AdoptingAgentOptions {
  /** The path of the socket for the shim. */
  readonly socket: string
  /** Where clients connect to. */
  readonly listen: Endpoint
  /** Where the server program listens. */
  readonly listener: Endpoint
  /** The users of its processes. */
  readonly users: readonly number[]
  /** A connection is taken back before each so many of its requests, and given again. Without it: never. */
  readonly every?: number
}

export interface AdoptingAgentReport {
  readonly adopted: number
  readonly failed: number
  readonly takenBack: number
  /** Connections that the program has now. */
  readonly open: number
  /** Processes of the program that have the shim. */
  readonly processes: readonly { readonly pid: number }[]
  /** Milliseconds from the adoption until the program has the connection. */
  readonly p50: number
  readonly p99: number
}

/** Starts a program that gives what it accepts to a server program, and waits until that is ready. */
export async function startAdoptingAgent(host: Host, options: AdoptingAgentOptions): Promise<HostProcess> {
  const agent = host.spawn([process.execPath, program, JSON.stringify(options)])
  await agent.line(/^ready$/, { timeout: 30_000 })
  return agent
}

/** What it has done until now. */
export async function reportOf(agent: HostProcess): Promise<AdoptingAgentReport> {
  const report = Promise.withResolvers<AdoptingAgentReport>()
  const stop = agent.stdout.onLine((line) => {
    if (line.startsWith('{')) report.resolve(JSON.parse(line))
  })
  process.kill(agent.pid, 'SIGUSR1')
  try {
    return await report.promise
  } finally {
    stop()
  }
}
