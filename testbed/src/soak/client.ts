/**
 * The clients of a soak, a program of its own: keeps a number of connections open, each with a plan that follows from the seed, until
 * SIGTERM. Prints a line for each violation as it happens, and one with everything at the end.
 *
 *     bun client.ts OPTIONS-JSON
 */

import { Random } from '@xoffload/core/simulation'
import { percentile } from '../figures.ts'
import { ClientConnection } from './client-connection.ts'
import { planConnection, planMostlyIdle } from './plan.ts'

export interface ClientOptions {
  readonly addresses: readonly string[]
  readonly port: number
  /** Connections at once. */
  readonly connections: number
  readonly seed: number
  /** `busy`: all that a client can do. `mostly-idle`: long pauses, and downloads that take long; see `planMostlyIdle`. Default `busy`. */
  readonly load?: 'busy' | 'mostly-idle'
}

/** A connection that was not as it should be. */
export interface Violation {
  readonly violation: string
  /** The number of the connection, from which its plan follows. */
  readonly connection: number
  /** The client's end, as it is in the gateway's log. */
  readonly client: string
}

/** What the clients saw of a whole run. */
export interface ClientReport {
  readonly connections: number
  readonly requests: number
  readonly bytes: number
  readonly violations: number
  /** The longest stall of each connection, milliseconds. */
  readonly stalls: { readonly p50: number; readonly p99: number; readonly max: number }
}

/** How often connections that do not move are looked for, in milliseconds. */
const WATCH_INTERVAL = 250
/** How long the connections may take to end after SIGTERM, in milliseconds. */
const STOP_TIMEOUT = 30_000

const options: ClientOptions = JSON.parse(process.argv[2] ?? '')
const open = new Set<ClientConnection>()
const stalls: number[] = []
let [opened, requests, bytes, violations] = [0, 0, 0, 0]
let stopping = false

function connect(): void {
  const number = opened++
  const random = new Random(options.seed * 1_000_003 + number)
  const hostname = random.pick(options.addresses)
  const connection = new ClientConnection(
    {
      finished(finished, violation) {
        open.delete(finished)
        requests += finished.requests
        bytes += finished.bytes
        if (violation === undefined) stalls.push(finished.stall)
        else report(number, finished.local, violation)
        if (!stopping) connect()
        else if (open.size === 0) end()
      },
    },
    options.load === 'mostly-idle' ? planMostlyIdle(number) : planConnection(random),
  )
  open.add(connection)
  Bun.connect({
    hostname,
    port: options.port,
    allowHalfOpen: true,
    socket: {
      open: (socket) => connection.opened(socket),
      data: (_socket, chunk) => connection.data(chunk),
      drain: () => connection.drain(),
      end: () => connection.ended(),
      close: (_socket, error) => connection.closed(error),
      error: (_socket, error) => connection.closed(error),
      connectError: (_socket, error) => connection.closed(error),
    },
  }).catch((error) => connection.closed(error))
}

function report(number: number, client: string, violation: string): void {
  violations++
  print({ violation, connection: number, client } satisfies Violation)
}

function end(): void {
  stalls.sort((a, b) => a - b)
  const at = (fraction: number) => percentile(stalls, fraction)
  const summary = { p50: at(0.5), p99: at(0.99), max: at(1) }
  print({ connections: opened, requests, bytes, violations, stalls: summary } satisfies ClientReport)
  process.exit()
}

function print(line: object): void {
  console.log(JSON.stringify(line))
}

setInterval(() => {
  for (const connection of open) connection.watch()
}, WATCH_INTERVAL)
process.once('SIGTERM', () => {
  stopping = true
  for (const connection of open) connection.stop()
  if (open.size === 0) end()
  setTimeout(() => {
    for (const connection of open) connection.abandon()
  }, STOP_TIMEOUT)
})
for (let index = 0; index < options.connections; index++) connect()
