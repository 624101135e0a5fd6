// nginx as a server: connections that it is given, and gives back between two requests.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import type { PreloadAdoptOptions, PreloadConnection, PreloadSuspended } from '@xoffload/proxy-adapters/preload'
import { AdoptingNginx, adoptClient } from '../nginx/adopting-nginx.ts'
import { afterTest, BUILD_TIMEOUT, buildModule, cleanUp, eventually, TIMEOUT } from '../nginx/support.ts'
import type { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

async function ask(client: RawClient, request: string): Promise<string> {
  await client.send(request)
  const { status, body } = await client.response()
  return `${status} ${body}`
}

/** The first words of an answer: status, method and path. */
async function path(client: RawClient, request: string): Promise<string> {
  return (await ask(client, request)).split(' ').slice(0, 3).join(' ')
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
  const options: PreloadAdoptOptions = {
    route: (_, { target }) => {
      asked.push(target)
      return stops(target) ? 'suspend' : 'serve'
    },
    onSuspended: (suspended) => stopped.push(suspended),
  }
  const next = async () => {
    await eventually(() => stopped.length > 0, 'a connection that was given back')
    return stopped.shift() as PreloadSuspended
  }
  return { asked, options, next }
}

/** Serves what was taken back: what was read of it is put in front, as a restored socket has it. */
async function serveElsewhere(client: RawClient, taken: PreloadSuspended): Promise<string> {
  const received = Buffer.from(taken.received).toString('latin1')
  const server = new HttpServer({ fetch: (request) => new Response(`elsewhere ${new URL(request.url).pathname}`) })
  afterTest(() => server.stop(true))
  server.adopt(taken.take())
  // The descriptor was nginx's: it serves again, here.
  await client.send(get('/more'))
  const { body } = await client.response()
  return `${received.split('\r\n')[0]} then ${body}`
}

test('requests on an adopted connection, with its addresses in variables and logs', async () => {
  const nginx = await AdoptingNginx.start()
  const { server, errors } = await nginx.agent()
  const { client, address, closed } = await adoptClient(server)
  for (let index = 1; index <= 3; index++) {
    const [, , uri, peer, local, count] = (await ask(client, get(`/${index}`))).split(' ')
    expect([uri, peer, count]).toEqual([`/${index}`, address, `${index}`])
    // The connection's own, which nginx does not listen at.
    expect(local).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(local).not.toBe(`127.0.0.1:${nginx.port}`)
  }
  await eventually(() => nginx.accessLog.includes(`${address} /3 200`))
  client.close()
  await closed
  expect([server.connections, errors]).toEqual([0, []])
})

test('what nginx alone answers: pipelined requests, uploads, HEAD, ranges, errors, large answers', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const plain = await nginx.client()
  const { client: adopted } = await adoptClient(server)
  const upload = (fields: string, body: string) => `POST /echo HTTP/1.1\r\nHost: test\r\n${fields}\r\n\r\n${body}`
  const requests = [
    get('/1') + get('/2'),
    upload('Content-Length: 5', 'hello'),
    upload('Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n'),
    get('/large', 'Range: bytes=100-199\r\n'),
    get('/large'),
    get('/large', 'If-None-Match: "x"\r\nRange: bytes=99999999-\r\n'),
  ]
  for (const request of requests) {
    const answers = []
    for (const client of [plain, adopted]) {
      await client.send(request)
      for (let count = request.split(' HTTP/1.1').length - 1; count > 0; count--) {
        const { status, headers, body } = await client.response()
        answers.push([status, headers.get('content-length'), Bun.hash(body.subarray(0, body.indexOf(' 127.')))])
      }
    }
    expect(answers.slice(0, answers.length / 2)).toEqual(answers.slice(answers.length / 2))
  }
  await adopted.send('nonsense\r\n\r\n')
  expect((await adopted.response()).status).toBe(400)
  await adopted.end()
})

test('the server block that adopts, although others listen there', async () => {
  const other = 'server { listen PORT default_server; return 201 "other"; }'
  const nginx = await AdoptingNginx.start({ http: [other] })
  const { server } = await nginx.agent()
  const { client } = await adoptClient(server)
  expect(await ask(client, get('/1'))).toStartWith('200 GET /1 ')
})

test('IPv4 in a server that listens to IPv6, for both', async () => {
  const nginx = await AdoptingNginx.start({ listen: '[::]:PORT ipv6only=off so_keepalive=60s:10s:5' })
  const { server } = await nginx.agent()
  const { client, address } = await adoptClient(server)
  expect((await ask(client, get('/1'))).split(' ')[3]).toBe(`::ffff:${address}`)
})

test('reuseport', async () => {
  const nginx = await AdoptingNginx.start({ listen: '127.0.0.1:PORT reuseport' })
  const { server } = await nginx.agent()
  const clients = await Promise.all(Array.from({ length: 20 }, () => adoptClient(server)))
  for (const { client } of clients) expect(await path(client, get('/1'))).toBe('200 GET /1')
})

test('bytes that a former owner has not sent go out first', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client } = await adoptClient(server, { unsent: Buffer.from('HTTP/1.1 204 Unsent\r\n\r\n') })
  await client.send(get('/1'))
  expect([(await client.response()).status, (await client.response()).status]).toEqual([204, 200])
})

test('the connection leaves before a request that belongs elsewhere', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { asked, options, next } = stopping((target) => target === '/there')
  const { client, connection, address } = await adoptClient(server, options)
  expect(await path(client, get('/1'))).toBe('200 GET /1')
  expect(await path(client, get('/2'))).toBe('200 GET /2')
  await client.send(get('/there', 'X-Field: 1\r\n') + get('/behind'))
  const stopped = await next()
  expect([stopped.head?.target, stopped.head?.headers.get('x-field')]).toEqual(['/there', '1'])
  expect(Buffer.from(stopped.next).toString()).toBe(get('/there', 'X-Field: 1\r\n'))
  expect(Buffer.from(stopped.received).toString()).toBe(get('/there', 'X-Field: 1\r\n') + get('/behind'))
  expect([stopped.requests, connection.requests]).toEqual([2, 2])
  expect(asked).toEqual(['/1', '/2', '/there'])
  expect(await serveElsewhere(client, stopped)).toBe('GET /there HTTP/1.1 then elsewhere /more')
  // It is logged where it is answered.
  expect(nginx.accessLog.filter((line) => line.startsWith(address))).toEqual([`${address} /1 200`, `${address} /2 200`])
})

test('a connection that nobody else wants comes back, with all that was read of it', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { asked, options, next } = stopping(() => true)
  const { client } = await adoptClient(server, options)
  for (let index = 0; index < 5; index++) {
    const body = 'x'.repeat(1000 * index)
    await client.send(`POST /${index} HTTP/1.1\r\nHost: test\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    ;(await next()).resume()
    expect((await client.response()).body.toString()).toStartWith(`POST /${index} `)
  }
  expect(asked).toEqual(['/0', '/1', '/2', '/3', '/4'])
})

test('an idle connection comes back when it is asked for', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client, connection } = await adoptClient(server)
  // Before the first request, too.
  for (let round = 0; round < 10; round++) {
    ;(await suspended(connection)).resume()
    expect(await path(client, get(`/${round}`))).toBe(`200 GET /${round}`)
  }
  expect(await serveElsewhere(client, await suspended(connection))).toEndWith('then elsewhere /more')
  expect(client.ended).toBe(false)
})

test('it comes back only when all that was asked is answered', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client, connection } = await adoptClient(server)
  client.pause()
  await client.send(get('/large') + get('/2') + get('/3'))
  await eventually(() => nginx.workers.length === 2)
  const wish = suspended(connection)
  client.resume()
  const { body } = await client.response()
  expect(body.length).toBe(4 << 20)
  const taken = await wish
  // What it had read behind the answer is given back.
  const behind = Buffer.from(taken.received).toString()
  taken.resume()
  for (const target of ['/2', '/3']) expect((await client.response()).body.toString()).toStartWith(`GET ${target} `)
  expect(['', get('/2') + get('/3'), get('/3')]).toContain(behind)
})

test('not within an upload, and after it', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client, connection } = await adoptClient(server)
  await client.send('POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n')
  expect((await client.response()).status).toBe(100)
  const wish = suspended(connection)
  await client.send('12345')
  await client.send('67890')
  expect((await client.response()).body.toString()).toStartWith('POST /body ')
  expect(await serveElsewhere(client, await wish)).toEndWith('then elsewhere /more')
})

test.each([
  ['HTTP/1.0', 'GET /old HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n'],
  ['Connection: close', get('/', 'Connection: close\r\n')],
  ['an upgrade of the protocol', get('/', 'Upgrade: websocket\r\n')],
])('a request with %s is not given back', async (_, request) => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { asked, options } = stopping(() => true)
  const { client } = await adoptClient(server, options)
  expect(await ask(client, request)).toStartWith('200 GET ')
  expect(asked).toEqual([])
})

test('a wish that is given up', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client, connection } = await adoptClient(server)
  client.pause()
  await client.send(get('/large'))
  const cancel = new AbortController()
  const wish = connection.suspend({ signal: cancel.signal })
  cancel.abort(new Error('never mind'))
  await expect(wish).rejects.toThrow('never mind')
  client.resume()
  expect((await client.response()).body.length).toBe(4 << 20)
  expect(await path(client, get('/2'))).toBe('200 GET /2')
})

test('what the agent has said is not asked again', async () => {
  const nginx = await AdoptingNginx.start({ main: ['worker_processes 1;'] })
  const { server } = await nginx.agent()
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

test('terminate ends the connection', async () => {
  const nginx = await AdoptingNginx.start()
  const { server } = await nginx.agent()
  const { client, connection, closed } = await adoptClient(server)
  expect(await path(client, get('/1'))).toBe('200 GET /1')
  connection.terminate()
  await client.end()
  client.close()
  await closed
})

test.each([
  ['needs a "listen"', { listen: 'unix:/tmp/never.sock' }],
  ['needs a "listen"', { listen: '127.0.0.1:PORT proxy_protocol' }],
  ['"xoffload_adopt" directive is duplicate', { server: ['xoffload_adopt unix:/tmp/other.sock;'] }],
  ['"unix:PATH" is expected', { http: ['server { xoffload_adopt 127.0.0.1:80; }'] }],
  ['getpwnam("nobody-here") failed', { http: ['server { xoffload_adopt unix:/tmp/other.sock user=nobody-here; }'] }],
  ['directive is not allowed here', { server: ['location /x { xoffload_adopt unix:/tmp/other.sock; }'] }],
])('nginx -t says %s', async (text, options) => {
  expect(await AdoptingNginx.complaint(options)).toContain(text)
})
