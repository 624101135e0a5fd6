import { afterEach, describe, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { type AdoptOptions, type FetchHandler, HttpServer, HttpServerError } from '@xoffload/proxy-adapters/bun'
import { closeFd, establishedSocket } from './established-socket.ts'
import type { RawClient } from './raw-client.ts'
import { get } from './server.ts'

const servers: HttpServer[] = []
const clients: RawClient[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await Promise.all(servers.splice(0).map((server) => server.stop(true)))
})

function makeServer(fetch: FetchHandler): HttpServer {
  const server = new HttpServer({ fetch })
  servers.push(server)
  return server
}

async function adoptOne(
  fetch: FetchHandler,
  options?: AdoptOptions,
): Promise<{ client: RawClient; server: HttpServer }> {
  const { fd, client } = await establishedSocket()
  clients.push(client)
  const server = makeServer(fetch)
  server.adopt(fd, options)
  return { client, server }
}

const descriptors = () => readdirSync('/proc/self/fd').length

describe('an adopted connection', () => {
  test('is served with keep-alive', async () => {
    const { client, server } = await adoptOne((request, { adopted }) => new Response(`${request.url} ${adopted}`))
    for (const path of ['/1', '/2', '/3']) {
      await client.send(get(path))
      expect((await client.response()).body.toString()).toBe(`http://test${path} true`)
    }
    expect(server.connections).toBe(1)
    expect(server.requests).toBe(3)
  })

  test('is served when its request was queued before', async () => {
    const { fd, client } = await establishedSocket()
    clients.push(client)
    await client.send(`${get('/1')}${get('/2')}GET /3 HT`)
    makeServer((request) => new Response(new URL(request.url).pathname)).adopt(fd)
    expect((await client.response()).body.toString()).toBe('/1')
    expect((await client.response()).body.toString()).toBe('/2')
    await client.send('TP/1.1\r\nHost: test\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('/3')
  })

  test('is served when the client has already ended its half', async () => {
    const { fd, client } = await establishedSocket()
    clients.push(client)
    await client.send(get('/1'))
    client.halfClose()
    makeServer(() => new Response('late')).adopt(fd)
    expect((await client.response()).body.toString()).toBe('late')
    await client.end()
  })

  test('sends the unsent bytes of its former owner first', async () => {
    const { client } = await adoptOne(() => new Response('next'), { unsent: Buffer.from('rest of a response') })
    await client.send(get())
    expect((await client.take(18)).toString()).toBe('rest of a response')
    expect((await client.response()).body.toString()).toBe('next')
  })

  test('sends unsent bytes that no socket buffer holds, and only then answers what came meanwhile', async () => {
    const unsent = Uint8Array.from({ length: 16_000_000 }, (_, index) => index % 251)
    const { fd, client } = await establishedSocket()
    clients.push(client)
    client.pause()
    await client.send(get())
    const server = makeServer(() => new Response('next'))
    server.adopt(fd, { unsent: unsent.slice() })
    const { promise, resolve } = Promise.withResolvers<void>()
    setTimeout(resolve, 20)
    await promise
    expect(server.requests).toBe(0)
    client.resume()
    expect((await client.take(unsent.length)).equals(unsent)).toBe(true)
    expect((await client.response()).body.toString()).toBe('next')
  })

  test('tells when it is closed, once, with the descriptor gone', async () => {
    const closed: number[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    const { fd, client } = await establishedSocket()
    makeServer(() => new Response('x')).adopt(fd, {
      onClose: () => {
        closed.push(descriptors())
        resolve()
      },
    })
    const open = descriptors()
    await client.send(get('/', 'Connection: close\r\n'))
    await client.response()
    await client.end()
    client.close()
    await promise
    await Bun.sleep(10)
    expect(closed).toHaveLength(1)
    expect(descriptors()).toBeLessThanOrEqual(open - 2)
  })

  test('has the client address that is given, else that of its socket', async () => {
    const fetch: FetchHandler = (_, { client }) => Response.json(client)
    const { client: told } = await adoptOne(fetch, { client: { address: '192.0.2.1', port: 7 } })
    await told.send(get())
    expect(JSON.parse((await told.response()).body.toString())).toEqual({ address: '192.0.2.1', port: 7 })
    const { client: asked } = await adoptOne(fetch)
    await asked.send(get())
    expect(JSON.parse((await asked.response()).body.toString())).toMatchObject({ address: '127.0.0.1' })
  })
})

describe('descriptors', () => {
  test('that are no connection are refused and stay open', async () => {
    const server = makeServer(() => new Response('x'))
    expect(() => server.adopt(987_654)).toThrow(HttpServerError)
    expect(() => server.adopt(-1)).toThrow(HttpServerError)
    const file = (await import('node:fs')).openSync('/dev/null', 'r')
    expect(() => server.adopt(file)).toThrow(HttpServerError)
    closeFd(file)
    expect(server.connections).toBe(0)
  })

  test('are refused by a server that is stopping', async () => {
    const { fd, client } = await establishedSocket()
    clients.push(client)
    const server = makeServer(() => new Response('x'))
    await server.stop()
    expect(() => server.adopt(fd)).toThrow(HttpServerError)
    closeFd(fd)
  })

  test('do not leak, however a connection ends', async () => {
    const server = makeServer((request) =>
      new URL(request.url).pathname === '/never' ? new Promise(() => {}) : new Response('x'.repeat(100)),
    )
    const endings: ((client: RawClient) => Promise<void>)[] = [
      async (client) => client.close(),
      async (client) => {
        await client.send(get('/', 'Connection: close\r\n'))
        await client.end()
        client.close()
      },
      async (client) => {
        client.halfClose()
        await client.end()
        client.close()
      },
      async (client) => {
        await client.send('nonsense\r\n\r\n')
        await client.end()
        client.close()
      },
      async (client) => {
        await client.send(get('/never'))
        client.close()
      },
    ]
    const before = descriptors()
    for (let turn = 0; turn < 20; turn++) {
      for (const end of endings) {
        const { fd, client } = await establishedSocket()
        const closed = Promise.withResolvers<void>()
        server.adopt(fd, { onClose: closed.resolve })
        await end(client)
        await closed.promise
      }
    }
    expect(server.connections).toBe(0)
    await Bun.sleep(20)
    expect(descriptors()).toBeLessThanOrEqual(before)
  }, 20_000)
})
