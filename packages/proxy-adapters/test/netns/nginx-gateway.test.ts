// Debian's nginx as the gateway: what it gives away, and that what it keeps is served as by nginx alone.
import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { join } from 'node:path'
import { flowOf } from '@xoffload/linux'
import { Elsewhere } from '../nginx/elsewhere.ts'
import { BUILD_TIMEOUT, buildModule, cleanUp, freePort, gateway, Nginx, TIMEOUT } from '../nginx/support.ts'
import { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'

setDefaultTimeout(TIMEOUT)
beforeAll(buildModule, BUILD_TIMEOUT)
afterEach(cleanUp)

async function ask(client: RawClient, request: string): Promise<string> {
  await client.send(request)
  const { status, body } = await client.response()
  return `${status} ${body}`
}

const post = (framing: string, body: string) =>
  `POST /up HTTP/1.1\r\nHost: test\r\nX-Test: 1\r\n${framing}\r\n\r\n${body}`
const refuse = () => ({ result: 'refused', reason: 'not today' }) as const

test('a connection goes to the server that nginx has selected, and lives there', async () => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  const { arrivals, server } = await gateway(nginx, (arrival) => there.take(arrival))
  const client = await nginx.client()
  expect(await ask(client, get('/1', 'X-Test: a\r\n'))).toBe('200 elsewhere GET /1 a ')
  expect(await ask(client, get('/2'))).toBe('200 elsewhere GET /2 null ')
  const [arrival] = arrivals
  expect(arrivals.length).toBe(1)
  expect(arrival).toMatchObject({
    upstream: 'application',
    server: nginx.application.replace('127.0.0.1', 'localhost'),
    requests: 1,
    hasBody: false,
    keepAlive: true,
  })
  expect(arrival?.address).toMatch(/^(127\.0\.0\.1|\[::1\]):\d+$/)
  expect(arrival?.flow.toString()).toContain(`127.0.0.1:${client.localPort}`)
  expect(server.workers.map(({ uid }) => uid)).toEqual([33])
  await nginx.logged(`/1 000 handed-off ${arrival?.server} "handed off"`)
})

test('the bytes are those of the request and what came behind', async () => {
  const nginx = await Nginx.start()
  const seen: string[] = []
  await gateway(nginx, ({ received, headLength, fd }) => {
    expect(flowOf(fd).toString()).not.toBe('')
    seen.push(Buffer.from(received).toString('latin1'))
    seen.push(Buffer.from(received.subarray(headLength)).toString('latin1'))
    return refuse()
  })
  const client = await nginx.client()
  // Longer than client_header_buffer_size: the head is in two buffers.
  const first = get('/long', `X-Test: ${'x'.repeat(600)}\r\nX-Other: ${'y'.repeat(900)}\r\n`)
  await client.send(first + get('/2'))
  await client.response()
  await client.response()
  expect(seen).toEqual([first + get('/2'), get('/2'), get('/2'), ''])
})

test('pipelined requests go along', async () => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  await gateway(nginx, (arrival) => there.take(arrival))
  const client = await nginx.client()
  await client.send(get('/1') + get('/2') + get('/3'))
  for (const path of ['/1', '/2', '/3'])
    expect((await client.response()).body.toString()).toBe(`elsewhere GET ${path} null `)
})

test('a connection leaves at its second request, after an answer of nginx', async () => {
  const nginx = await Nginx.start({ http: ['sendfile on;', 'tcp_nopush on;'] })
  const there = new Elsewhere()
  await gateway(nginx, (arrival) => (arrival.requests === 3 ? there.take(arrival) : refuse()))
  const client = await nginx.client()
  await client.send(get('/1') + get('/2') + get('/3'))
  expect((await client.response()).body.toString()).toBe('proxied GET /1 null ')
  expect((await client.response()).body.toString()).toBe('proxied GET /2 null ')
  expect((await client.response()).body.toString()).toBe('elsewhere GET /3 null ')
})

const uploads = [
  ['with a length', post('Content-Length: 5', 'hello'), '', 'hello'],
  ['whose body comes later', post('Content-Length: 5', ''), 'hello', 'hello'],
  ['whose body comes in two parts', post('Content-Length: 5', 'he'), 'llo', 'hello'],
  ['in chunks', post('Transfer-Encoding: chunked', '3\r\nabc\r\n'), '2\r\nde\r\n0\r\n\r\n', 'abcde'],
] as const

test.each(uploads)('an upload %s moves before its body is read', async (_, request, rest, body) => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  const { arrivals } = await gateway(nginx, (arrival) => there.take(arrival))
  const client = await nginx.client()
  await client.send(request)
  await nginx.logged(`/up 000 handed-off ${nginx.application.replace('127.0.0.1', 'localhost')} "handed off"`)
  expect(arrivals[0]?.hasBody).toBe(true)
  await there.arrived()
  await client.send(rest)
  expect((await client.response()).body.toString()).toBe(`elsewhere POST /up 1 ${body}`)
})

test('Expect: 100-continue is answered by whoever serves the request', async () => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  await gateway(nginx, (arrival) => there.take(arrival))
  const client = await nginx.client()
  await client.send(post('Content-Length: 5\r\nExpect: 100-continue', ''))
  expect((await client.response()).status).toBe(100)
  await client.send('hello')
  expect((await client.response()).body.toString()).toBe('elsewhere POST /up 1 hello')
})

test('HTTP/1.0 moves, and ends with the response', async () => {
  const nginx = await Nginx.start()
  const there = new Elsewhere()
  const { arrivals } = await gateway(nginx, (arrival) => there.take(arrival))
  const client = await nginx.client()
  await client.send('GET /old HTTP/1.0\r\nHost: test\r\n\r\n')
  expect((await client.response()).body.toString()).toBe('elsewhere GET /old null ')
  await client.end()
  expect(client.resetByPeer).toBe(false)
  expect(arrivals[0]?.keepAlive).toBe(false)
})

const requests = [
  ['GET', get('/1')],
  ['HEAD', 'HEAD /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n'],
  ['POST', post('Content-Length: 5', 'hello')],
  ['chunks', post('Transfer-Encoding: chunked', '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')],
  ['HTTP/1.0', 'GET /old HTTP/1.0\r\n\r\n'],
  ['Connection: close', get('/close', 'Connection: close\r\n')],
  ['pipelined', get('/1') + post('Content-Length: 5', 'hello') + get('/3')],
  ['100-continue', post('Content-Length: 5\r\nExpect: 100-continue', 'hello')],
  ['an unknown method', 'BREW /pot HTTP/1.1\r\nHost: test\r\n\r\n'],
  ['a bad request', 'GET / HTTP/1.1\r\n\r\n'],
] as const

/** All that a client gets for these bytes, but for dates. */
async function conversation(nginx: Nginx, request: string): Promise<string> {
  const client = await nginx.client()
  await client.send(request)
  client.halfClose()
  await client.end()
  return client.received.toString('latin1').replaceAll(/^Date: .*$/gm, 'Date:')
}

test.each(requests)('refused, the answer is that of nginx alone: %s', async (_, request) => {
  const there = new Elsewhere()
  // One that is half-closed by its client is answered nevertheless.
  const nginx = await Nginx.start({ location: ['proxy_ignore_client_abort on;'] })
  const alone = await conversation(nginx, request)
  const verdicts = [refuse, there.rollBack]
  await gateway(nginx, (arrival) => (verdicts[0] ?? refuse)(arrival))
  for (; verdicts.length > 0; verdicts.shift()) expect(await conversation(nginx, request)).toBe(alone)
})

test('what cannot be moved is not offered: HTTP/2', async () => {
  const nginx = await Nginx.start({ listen: 'http2' })
  const { arrivals } = await gateway(nginx, refuse)
  const session = connectHttp2(`http://127.0.0.1:${nginx.port}`)
  const stream = session.request({ ':path': '/2' })
  const [headers] = await once(stream, 'response')
  stream.resume()
  await once(stream, 'end')
  session.destroy()
  expect(headers[':status']).toBe(200)
  await nginx.logged('/2 200 unsupported - "HTTP/2"')
  expect(arrivals).toEqual([])
})

test('what cannot be moved is not offered: TLS', async () => {
  // Of nobody, for the name "test".
  const file = join(import.meta.dir, '../nginx/certificate.pem')
  const nginx = await Nginx.start({
    listen: 'ssl',
    server: [`ssl_certificate ${file};`, `ssl_certificate_key ${file};`],
  })
  const { arrivals } = await gateway(nginx, refuse)
  const response = await fetch(`https://127.0.0.1:${nginx.port}/tls`, { tls: { rejectUnauthorized: false } })
  expect(await response.text()).toBe('proxied GET /tls null ')
  await nginx.logged('/tls 200 unsupported - "TLS"')
  expect(arrivals).toEqual([])
})

test('an IPv6 connection moves', async () => {
  const port = freePort('::1')
  const nginx = await Nginx.start({ server: [`listen [::1]:${port};`] })
  const there = new Elsewhere()
  const { arrivals } = await gateway(nginx, (arrival) => there.take(arrival))
  const client = new RawClient()
  client.attach(await Bun.connect({ hostname: '::1', port, allowHalfOpen: true, socket: client.handlers }))
  expect(await ask(client, get('/6'))).toBe('200 elsewhere GET /6 null ')
  expect(arrivals[0]?.flow.family).toBe(6)
  client.close()
})

test('the connections that nginx keeps to its upstream stay there', async () => {
  const nginx = await Nginx.start({ main: ['worker_processes 1;'] })
  const there = new Elsewhere()
  await gateway(nginx, (arrival) => (arrival.requests > 2 ? there.take(arrival) : refuse()))
  for (let round = 0; round < 5; round++) {
    const client = await nginx.client()
    for (const who of ['proxied', 'proxied', 'elsewhere']) expect(await ask(client, get('/1'))).toContain(who)
    client.close()
  }
  expect(nginx.applicationConnections).toBe(1)
})

test('the configuration is checked', async () => {
  const wrong = [
    ['xoffload_pass nowhere;', 'no port in upstream "nowhere"'],
    ['xoffload_gateway /run/x;', '"unix:PATH" is expected'],
    ['xoffload_gateway unix:/run/x user=nobody-knows;', 'getpwnam("nobody-knows") failed'],
    ['xoffload_gateway unix:/run/x trust=all;', 'invalid parameter "trust=all"'],
  ] as const
  for (const [line, message] of wrong)
    expect(await Nginx.complaint({ server: [`location /wrong { ${line} }`] })).toContain(message)
})

test('what cannot be moved is not offered: the PROXY protocol, whose address would be lost', async () => {
  const nginx = await Nginx.start({ listen: 'proxy_protocol' })
  const { arrivals } = await gateway(nginx, refuse)
  const client = await nginx.client()
  expect(await ask(client, `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${get('/p')}`)).toBe('200 proxied GET /p null ')
  await nginx.logged('/p 200 unsupported - "PROXY protocol"')
  expect(arrivals).toEqual([])
})

test('what cannot be moved is not offered', async () => {
  const nginx = await Nginx.start({
    server: [
      'location = /redirected { try_files /missing /target; }',
      'location = /rewritten { rewrite ^ /changed break; xoffload_pass application; proxy_pass http://application; }',
    ],
  })
  const { arrivals } = await gateway(nginx, refuse)
  const client = await nginx.client()
  expect(await ask(client, get('/redirected'))).toBe('200 proxied GET /target null ')
  expect(await ask(client, get('/rewritten'))).toBe('200 proxied GET /changed null ')
  expect(arrivals).toEqual([])
  for (const path of ['/target', '/changed']) await nginx.logged(`${path} 200 unsupported - "the URI was changed"`)
})
