/**
 * The clients of a soak of adoptions, a program of its own: keeps a number of connections open, each with a plan that follows from the seed.
 * Prints `ready` when it has begun. At SIGTERM it opens no more, and ends with a {@link ClientReport} in JSON when those that it has have ended.
 *
 *     bun client.ts OPTIONS-JSON
 */

import { formatEndpoint } from '@xoffload/core'
import { Random } from '@xoffload/core/simulation'
import { ClientConnection } from './client-connection.ts'
import { planOf } from './plan.ts'

export interface ClientOptions {
  readonly addresses: readonly string[]
  readonly port: number
  /** Connections at once. */
  readonly connections: number
  readonly seed: number
}

/** A connection that was not as it should be. */
export interface Violation {
  readonly violation: string
  /** The client's end, as it is in the gateway's log; its address when there is none. */
  readonly client: string
}

/** What the clients saw. */
export interface ClientReport {
  readonly connections: number
  readonly requests: number
  /** Connections that were not as they should be; no more than the first ones. */
  readonly violations: readonly Violation[]
}

const WATCH_INTERVAL = 250
const MOST_VIOLATIONS = 20

const options: ClientOptions = JSON.parse(process.argv[2] ?? '')
const random = new Random(options.seed)
const open = new Set<ClientConnection>()
const violations: Violation[] = []
let [opened, requests, stopping] = [0, 0, false]

function connect(): void {
  opened += 1
  const hostname = random.pick(options.addresses)
  let local = hostname
  const connection = new ClientConnection(planOf(random), (over, violation) => {
    open.delete(over)
    requests += over.requests
    if (violation !== undefined && violations.length < MOST_VIOLATIONS) violations.push({ violation, client: local })
    if (stopping) endWhenDone()
    else connect()
  })
  open.add(connection)
  Bun.connect({
    hostname,
    port: options.port,
    allowHalfOpen: true,
    socket: {
      open: (socket) => {
        local = formatEndpoint({ address: socket.localAddress, port: socket.localPort })
        connection.opened(socket)
      },
      data: (_socket, chunk) => connection.data(chunk),
      end: () => connection.closed(),
      close: (_socket, error) => connection.closed(error),
      error: (_socket, error) => connection.closed(error),
      connectError: (_socket, error) => connection.closed(error),
    },
  }).catch((error) => connection.closed(error))
}

function endWhenDone(): void {
  if (open.size > 0) return
  console.log(JSON.stringify({ connections: opened, requests, violations } satisfies ClientReport))
  process.exit()
}

setInterval(() => {
  for (const connection of open) connection.watch()
}, WATCH_INTERVAL)
process.once('SIGTERM', () => {
  stopping = true
  endWhenDone()
})
for (let index = 0; index < options.connections; index++) connect()
console.log('ready')
