import { afterEach } from 'bun:test'
import {
  type AdoptedConnection,
  type AdoptOptions,
  HttpServer,
  type HttpServerOptions,
  type SuspendedConnection,
} from '@xoffload/proxy-adapters/bun'
import { establishedSocket } from './established-socket.ts'
import type { RawClient } from './raw-client.ts'

const servers: HttpServer[] = []
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await Promise.all(servers.splice(0).map((server) => server.stop(true)))
})

export function makeServer(options: HttpServerOptions): HttpServer {
  const server = new HttpServer(options)
  servers.push(server)
  return server
}

export function closeAfterTest(client: RawClient): RawClient {
  clients.push(client)
  return client
}

export interface Adopted {
  readonly client: RawClient
  readonly fd: number
  readonly server: HttpServer
  readonly connection: AdoptedConnection
}

/** A client on a connection that a server of its own has adopted. */
export async function adoptOne(options: HttpServerOptions, adopt?: AdoptOptions): Promise<Adopted> {
  const { fd, client } = await establishedSocket()
  closeAfterTest(client)
  const server = makeServer(options)
  return { client, fd, server, connection: server.adopt(fd, adopt) }
}

/** Suspends a connection that is not closed meanwhile. */
export async function suspended(
  connection: AdoptedConnection,
  options?: Parameters<AdoptedConnection['suspend']>[0],
): Promise<SuspendedConnection> {
  const result = await connection.suspend(options)
  if (result === undefined) throw new Error('the connection was closed instead of suspended')
  return result
}

/** Options of `adopt` with a `route` that stops at some requests, and a promise for each stop in turn. */
export function routing(stops: (target: string) => boolean): {
  options: AdoptOptions
  asked: string[]
  next: () => Promise<SuspendedConnection>
} {
  const asked: string[] = []
  let waiting = Promise.withResolvers<SuspendedConnection>()
  const options: AdoptOptions = {
    route: (_, { target }) => {
      asked.push(target)
      return stops(target) ? 'suspend' : 'serve'
    },
    onSuspended: (connection) => waiting.resolve(connection),
  }
  const next = async () => {
    const connection = await waiting.promise
    waiting = Promise.withResolvers()
    return connection
  }
  return { options, asked, next }
}

/** The text of what a suspended connection has received. */
export function text({ received }: SuspendedConnection): string {
  return Buffer.from(received).toString('latin1')
}

/** Waits for what the kernel brings about, which nothing announces. Fails after five seconds. */
export async function eventually(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`did not happen within five seconds: ${condition}`)
    await Bun.sleep(1)
  }
}
