// nginx that ends and has no successor: idle connections end in order, as nginx's own do, or go to somebody else.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import type { PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import { AdoptingNginx, adoptClient } from '../nginx/adopting-nginx.ts'
import { afterTest, BUILD_TIMEOUT, buildModule, cleanUp, eventually, TIMEOUT } from '../nginx/support.ts'
import type { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

/** Shorter than by default, and longer than a busy machine takes to adopt. Milliseconds. */
const ADOPT_TIMEOUT = 2500
const CLIENTS = 20

/** Asks, and says how the answer begins. */
async function ask(client: RawClient, path: string): Promise<string> {
  await client.send(get(path))
  const { body } = await client.response()
  return body.toString().split(' ').slice(0, 2).join(' ')
}

test.each([
  ["nginx's module", 'module'],
  ['the library', 'preload'],
] as const)('%s: idle connections end with a FIN, each once', async (_, adopter) => {
  const nginx = await AdoptingNginx.start({ adopter })
  const { server, errors } = await nginx.agent({ adoptTimeout: ADOPT_TIMEOUT })
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => adoptClient(server)))
  for (const { client } of clients) expect(await ask(client, '/1')).toBe('GET /1')
  expect(await nginx.quit()).toBe(0)
  for (const { client, closed } of clients) {
    await client.end()
    await closed
    expect(client.resetByPeer).toBe(false)
  }
  expect([server.connections, server.waiting, errors]).toEqual([0, 0, []])
})

test("nginx's module: who takes connections is given them, and serves them elsewhere", async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const elsewhere = new HttpServer({ fetch: (request) => new Response(`elsewhere ${new URL(request.url).pathname}`) })
  afterTest(() => elsewhere.stop(true))
  const onSuspended = (suspended: PreloadSuspended) => elsewhere.adopt(suspended.take())
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => adoptClient(server, { onSuspended })))
  for (const { client } of clients) expect(await ask(client, '/1')).toBe('GET /1')
  expect(await nginx.quit()).toBe(0)
  for (const { client } of clients) expect(await ask(client, '/2')).toBe('elsewhere /2')
  expect(server.connections).toBe(0)
})

test("nginx's module: a connection that nobody wants ends with a FIN", async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent({ adoptTimeout: ADOPT_TIMEOUT })
  let offered = 0
  const onSuspended = (suspended: PreloadSuspended) => {
    offered += 1
    suspended.resume()
  }
  const { client, closed } = await adoptClient(server, { onSuspended })
  expect(await ask(client, '/1')).toBe('GET /1')
  expect(await nginx.quit()).toBe(0)
  await client.end()
  await closed
  expect([client.resetByPeer, offered, server.connections]).toEqual([false, 1, 0])
})

test("nginx's module: a connection that is asked for meanwhile comes", async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent({ adoptTimeout: ADOPT_TIMEOUT })
  const { client, connection } = await adoptClient(server)
  expect(await ask(client, '/1')).toBe('GET /1')
  expect(await nginx.quit()).toBe(0)
  await eventually(() => server.waiting === 1, 'a connection without a process')
  const suspended = await connection.suspend()
  expect(suspended?.fd).toBeGreaterThan(0)
  suspended?.close()
})
