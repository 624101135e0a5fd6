import { afterEach } from 'bun:test'
import { type FetchHandler, HttpServer, type HttpServerOptions } from '@xoffload/proxy-adapters/bun'
import { RawClient } from './raw-client.ts'

const servers: HttpServer[] = []
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await Promise.all(servers.splice(0).map((server) => server.stop(true)))
})

/** A server on loopback that is stopped after the test. */
export function serve(
  fetch: FetchHandler,
  options: Omit<HttpServerOptions, 'fetch'> = {},
): { server: HttpServer; port: number } {
  const server = new HttpServer({ fetch, ...options })
  servers.push(server)
  return { server, port: server.listen({ hostname: '127.0.0.1' }).port }
}

/** A client that is closed after the test. */
export async function connect(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  clients.push(client)
  return client
}

/** A server and a client connected to it. */
export async function serveOne(fetch: FetchHandler, options?: Omit<HttpServerOptions, 'fetch'>): Promise<RawClient> {
  return await connect(serve(fetch, options).port)
}

/** A request without a body. */
export function get(path = '/', fields = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: test\r\n${fields}\r\n`
}
