// Connections that programs which know nothing of it give back between two requests.
import { afterEach, expect, test } from 'bun:test'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import type { PreloadAdoptOptions, PreloadConnection, PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import type { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'
import {
  adoptClient,
  afterTest,
  cleanUp,
  descriptors,
  eventually,
  install,
  type ProgramName,
  programs,
} from './support.ts'

afterEach(cleanUp)

const names = Object.keys(programs) as ProgramName[]

async function ask(client: RawClient, request: string, toHead = false): Promise<string> {
  await client.send(request)
  const { status, body } = await client.response(toHead)
  return `${status} ${body}`
}

async function suspended(connection: PreloadConnection): Promise<PreloadSuspended> {
  const result = await connection.suspend()
  if (result === undefined) throw new Error('the connection was closed instead of suspended')
  return result
}

/** A `route` that stops before some requests, and each stop in turn. */
function stopping(stops: (target: string) => boolean) {
  const asked: string[] = []
  const stopped: PreloadSuspended[] = []
  let arrived = Promise.withResolvers<void>()
  const options: PreloadAdoptOptions = {
    route: (_, { target }) => {
      asked.push(target)
      return stops(target) ? 'suspend' : 'serve'
    },
    onSuspended: (suspended) => {
      stopped.push(suspended)
      arrived.resolve()
    },
  }
  const next = async () => {
    while (stopped.length === 0) await arrived.promise
    arrived = Promise.withResolvers()
    return stopped.shift() as PreloadSuspended
  }
  return { asked, options, next }
}

/** Another server of this process that serves what was taken back. */
function elsewhere(): HttpServer {
  const server = new HttpServer({ fetch: (request) => new Response(`elsewhere ${new URL(request.url).pathname}`) })
  afterTest(() => server.stop(true))
  return server
}

test.each(names)('%s: the connection leaves before a request that belongs elsewhere', async (name) => {
  const { server } = await install(name)
  const { asked, options, next } = stopping((target) => target === '/there')
  const { client, connection } = await adoptClient(server, options)
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  expect(await ask(client, get('/2'))).toBe('200 GET /2 ')
  await client.send(get('/there', 'X-Field: 1\r\n'))
  const stopped = await next()
  expect([stopped.head?.target, stopped.head?.headers.get('x-field')]).toEqual(['/there', '1'])
  expect(Buffer.from(stopped.next).toString()).toBe(get('/there', 'X-Field: 1\r\n'))
  expect([stopped.received.length, stopped.requests, connection.requests]).toEqual([0, 2, 2])
  expect(asked).toEqual(['/1', '/2', '/there'])
  elsewhere().adopt(stopped.take())
  expect((await client.response()).body.toString()).toBe('elsewhere /there')
  expect(await ask(client, get('/more'))).toBe('200 elsewhere /more')
})

test.each(names)('%s: a connection that nobody else wants comes back, and its request is served once', async (name) => {
  const { server } = await install(name)
  const { asked, options, next } = stopping(() => true)
  const { client, connection } = await adoptClient(server, options)
  for (let index = 0; index < 5; index++) {
    await client.send(get(`/${index}`))
    ;(await next()).resume()
    expect((await client.response()).body.toString()).toBe(`GET /${index} `)
  }
  expect(asked).toEqual(['/0', '/1', '/2', '/3', '/4'])
  expect(connection.requests).toBe(4)
})

test('an idle connection comes back when it is asked for', async () => {
  const { server } = await install('node')
  const { client, connection } = await adoptClient(server)
  for (let round = 0; round < 10; round++) {
    expect(await ask(client, get(`/${round}`))).toBe(`200 GET /${round} `)
    ;(await suspended(connection)).resume()
    await connection.taken
  }
  const stopped = await suspended(connection)
  elsewhere().adopt(stopped.take())
  expect(await ask(client, get('/over'))).toBe('200 elsewhere /over')
})

test('Bun.serve, which waits with a system call of its own, gives it back at the next request', async () => {
  const { server } = await install('Bun.serve')
  const { client, connection } = await adoptClient(server)
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  const wish = suspended(connection)
  await client.send(get('/2'))
  elsewhere().adopt((await wish).take())
  expect((await client.response()).body.toString()).toBe('elsewhere /2')
})

test.each(names)('%s: it comes back only when all that was asked is answered', async (name) => {
  const { server } = await install(name)
  const { client, connection } = await adoptClient(server)
  // Bun.serve cannot do this with requests that are pipelined.
  const paths = name === 'node' ? ['/stream', '/2', '/stream'] : ['/stream']
  await client.send(paths.map((path) => get(path)).join(''))
  await client.until(() => client.received.includes('first'))
  const wish = suspended(connection)
  for (const path of paths)
    expect((await client.response()).body.toString()).toBe(path === '/2' ? 'GET /2 ' : 'first second')
  await client.send(get('/next'))
  elsewhere().adopt((await wish).take())
  expect((await client.response()).body.toString()).toBe('elsewhere /next')
})

test.each(names)('%s: not while an answer is thought about', async (name) => {
  const { server } = await install(name)
  const asked = Promise.withResolvers<void>()
  const route = () => {
    asked.resolve()
    return { requests: 1000 }
  }
  const { client, connection } = await adoptClient(server, { route })
  await client.send(get('/slow'))
  await asked.promise
  const wish = suspended(connection)
  expect((await client.response()).body.toString()).toBe('slow')
  await client.send(get('/next'))
  elsewhere().adopt((await wish).take())
  expect((await client.response()).body.toString()).toBe('elsewhere /next')
})

test.each(names)('%s: not within an upload, and after it', async (name) => {
  const { server } = await install(name)
  const { client, connection } = await adoptClient(server)
  await client.send('POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n')
  expect((await client.response()).status).toBe(100)
  const wish = suspended(connection)
  await client.send('12345')
  await client.send('67890')
  expect((await client.response()).body.toString()).toBe('POST /up 1234567890')
  await client.send(get('/next'))
  elsewhere().adopt((await wish).take())
  expect((await client.response()).body.toString()).toBe('elsewhere /next')
})

test.each([
  ['an upgrade of the protocol', 'CONNECT test:1 HTTP/1.1\r\nHost: test\r\n\r\n'],
  ['HTTP/1.0', 'GET /old HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n'],
  ['a bare line feed', 'GET /lf HTTP/1.1\nHost: test\r\n\r\n'],
  ['two lengths', 'POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n'],
  [
    'length and chunks',
    'POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a folded line', 'GET / HTTP/1.1\r\nHost: test\r\nX: 1\r\n 2\r\n\r\n'],
  ['Connection: close', get('/', 'Connection: close\r\n')],
])('a connection stays after %s', async (_, request) => {
  const { server } = await install('node')
  const { client, connection, closed } = await adoptClient(server)
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  await client.send(request)
  await client.until(() => client.received.length > 0 || client.ended, true)
  const wish = connection.suspend()
  await client.send(get('/2'))
  client.halfClose()
  await closed
  expect(await wish).toBeUndefined()
})

test('a wish that is given up', async () => {
  const { server } = await install('Bun.serve')
  const { client, connection } = await adoptClient(server)
  const cancel = new AbortController()
  const wish = connection.suspend({ signal: cancel.signal })
  cancel.abort(new Error('never mind'))
  await expect(wish).rejects.toThrow('never mind')
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  expect(await ask(client, get('/2'))).toBe('200 GET /2 ')
})

test('what the agent has said is not asked again', async () => {
  const { server } = await install('node')
  const asked: string[] = []
  const verdicts = { '/a': { requests: 2 }, '/b': { milliseconds: 60_000 } }
  const route: PreloadAdoptOptions['route'] = (_, { target }) => {
    asked.push(target)
    return verdicts[target as keyof typeof verdicts] ?? 'serve'
  }
  const { client } = await adoptClient(server, { route })
  for (const target of ['/a', '/1', '/2', '/3', '/b', '/b']) await ask(client, get(target))
  expect(asked).toEqual(['/a', '/3', '/b'])
  const { client: other } = await adoptClient(server, { route })
  for (const target of ['/b', '/4']) await ask(other, get(target))
  expect(asked).toEqual(['/a', '/3', '/b', '/4'])
})

test('route throws: the request is served, and the error reported', async () => {
  const { server, errors } = await install('node')
  const route = () => {
    throw new Error('broken')
  }
  const { client } = await adoptClient(server, { route })
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  expect(String(errors[0])).toContain('broken')
})

test('an agent that thinks too long: the program serves', async () => {
  const { server } = await install('node', { askTimeout: 5 })
  const route = () => {
    const until = performance.now() + 50
    while (performance.now() < until);
    return 'suspend' as const
  }
  const { client, connection } = await adoptClient(server, { route, onSuspended: (suspended) => suspended.resume() })
  for (let index = 0; index < 5; index++) expect(await ask(client, get(`/${index}`))).toBe(`200 GET /${index} `)
  expect(connection.closed).toBe(false)
})

test.each(names)('%s: terminate ends the connection', async (name) => {
  const { server } = await install(name)
  const { client, connection, closed } = await adoptClient(server)
  expect(await ask(client, get('/1'))).toBe('200 GET /1 ')
  connection.terminate()
  // A program that is not woken hears of it when it reads next.
  if (name === 'Bun.serve') await client.send(get('/2'))
  await client.end()
  client.close()
  await closed
})

test('connections to and fro a thousand times leave nothing behind', async () => {
  const { server, program } = await install('node')
  const clients = await Promise.all(Array.from({ length: 10 }, () => adoptClient(server)))
  for (const { client } of clients) await ask(client, get())
  const before = descriptors(program.pid)
  for (let round = 0; round < 100; round++) {
    const all = await Promise.all(clients.map(({ connection }) => suspended(connection)))
    for (const each of all) each.resume()
    for (const { client } of clients) expect(await ask(client, get(`/${round}`))).toBe(`200 GET /${round} `)
  }
  expect(server.connections).toBe(10)
  for (const { client, closed } of clients) {
    client.close()
    await closed
  }
  await eventually(() => server.connections === 0 && descriptors(program.pid) <= before - 10)
}, 60_000)
