// Connections that move between two servers through the kernel's snapshot, as a handoff moves them.
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { constants } from 'node:fs'
import { freeze, restore, takeSnapshot } from '@xoffload/linux'
import {
  type AdoptOptions,
  decodeInterruptedResponse,
  encodeInterruptedResponse,
  HttpServer,
  type HttpServerOptions,
  resumable,
  type SuspendedConnection,
} from '@xoffload/proxy-adapters/bun'
import { libc } from '../../../linux/src/ffi/libc.ts'
import { TwoHosts } from '../../../linux/test/netns/tcp-namespace.ts'
import { closeFd, setReceiveBuffer } from '../established-socket.ts'
import { ramp, rampFrom, resumeRamp, SIZE } from '../ramp.ts'
import { RawClient } from '../raw-client.ts'
import { get } from '../server.ts'
import { eventually, routing, suspended } from '../suspend-support.ts'

const F_SETFL = 4

let hosts: TwoHosts
let client: RawClient
let servers: [HttpServer, HttpServer]
let first: number

/** Two servers on the service's host, which say their number, and a client with a connection to it. */
function setUp(options: (server: number) => HttpServerOptions): void {
  servers = [new HttpServer(options(0)), new HttpServer(options(1))]
  // A small window: what the client has not read is at the server, not on its way.
  const pair = hosts.connect(4, (fd) => setReceiveBuffer(fd, 100_000))
  closeFd(pair.listener)
  if (libc.fcntl(pair.client, F_SETFL, constants.O_NONBLOCK) !== 0) throw new Error('fcntl failed')
  client = new RawClient()
  const open = (socket: Bun.Socket<undefined>) => client.attach(socket)
  const connect = { fd: pair.client, allowHalfOpen: true, socket: { ...client.handlers, open } }
  void Bun.connect(connect as unknown as Bun.TCPSocketConnectOptions<undefined>)
  first = pair.service
}

beforeEach(() => {
  hosts = new TwoHosts()
})
afterEach(async () => {
  client.close()
  await Promise.all(servers.map((server) => server.stop(true)))
  hosts.close()
})

/**
 * The kernel's part of a handoff. On one host the frozen socket must be closed before it is restored, so the client is muted: a packet
 * that met no socket would draw an RST.
 */
async function move(stopped: SuspendedConnection, to: HttpServer, options: AdoptOptions = {}) {
  const { received, response } = stopped
  const travelling = response && encodeInterruptedResponse(response)
  hosts.mute('client')
  freeze(stopped.fd)
  const snapshot = takeSnapshot(stopped.fd, { putBack: received })
  stopped.close()
  await eventually(() => stopped.closed)
  const { fd, unsent } = hosts.service.run(() => restore(snapshot))
  hosts.unmute('client')
  return to.adopt(fd, {
    unsent,
    ...(travelling !== undefined && { response: decodeInterruptedResponse(travelling) }),
    ...options,
  })
}

const resets = () => hosts.client.counter('OutRsts') + hosts.service.counter('OutRsts')

test('pipelined requests are served by two servers in turn, each exactly once and in order', async () => {
  setUp((server) => ({ fetch: (request) => new Response(`${server} ${new URL(request.url).pathname}`) }))
  const requests = 40
  const paths = Array.from({ length: requests }, (_, index) => `/${index}`)
  const { options, next } = routing(() => true)
  servers[0].adopt(first, options)
  await client.send(paths.map((path) => get(path)).join(''))
  // A connection that arrived serves the request for which it came, and moves on at the next one.
  const served = { route: once(options), onSuspended: options.onSuspended as NonNullable<AdoptOptions['onSuspended']> }
  for (let index = 0; index < requests; index++) {
    const stopped = await next()
    expect(stopped.head?.target).toBe(`/${index}`)
    const to = (index + 1) % 2
    await move(stopped, servers[to] as HttpServer, { ...served, route: once(options) })
    expect((await client.response()).body.toString()).toBe(`${to} /${index}`)
  }
  expect([servers[0].requests, servers[1].requests]).toEqual([requests / 2, requests / 2])
  expect(resets()).toBe(0)
}, 30_000)

/** The route of a connection that arrived for a request: that is served, the next one is another server's. */
function once({ route }: AdoptOptions): NonNullable<AdoptOptions['route']> {
  let arrived = true
  return (connection, head) => {
    if (!arrived) return route?.(connection, head) ?? 'serve'
    arrived = false
    return 'serve'
  }
}

test('an idle connection moves, and its client notices nothing', async () => {
  setUp((server) => ({ fetch: () => new Response(`${server}`) }))
  let connection = servers[0].adopt(first)
  for (let turn = 0; turn < 10; turn++) {
    await client.send(get())
    expect((await client.response()).body.toString()).toBe(`${turn % 2}`)
    connection = await move(await suspended(connection), servers[(turn + 1) % 2] as HttpServer)
  }
  expect(resets()).toBe(0)
}, 30_000)

test('an upload whose beginning has arrived moves with its request', async () => {
  setUp((server) => ({
    fetch: async (request) =>
      server === 0 ? new Response('not here') : new Response(new Uint8Array(await request.arrayBuffer())),
    limits: { bodySize: SIZE },
  }))
  const { options, next } = routing(() => true)
  servers[0].adopt(first, options)
  const head = `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${SIZE}\r\n\r\n`
  const sent = client.send(Buffer.concat([Buffer.from(head), ramp]))
  const stopped = await next()
  expect(stopped.received.length).toBeGreaterThan(head.length)
  await move(stopped, servers[1])
  await sent
  expect((await client.response()).body.equals(ramp)).toBe(true)
  expect([servers[0].requests, servers[1].requests, resets()]).toEqual([0, 1, 0])
}, 30_000)

test.each([
  ['chunked', () => new Response(rampFrom(0))],
  ['with a length', () => new Response(rampFrom(0), { headers: { 'content-length': `${SIZE}` } })],
  ['from memory', () => new Response(ramp)],
])(
  'a download %s moves in the middle, to and fro',
  async (_, response) => {
    setUp(() => ({
      fetch: (request) =>
        new URL(request.url).pathname === '/' ? resumable(response(), 'ramp') : new Response('after the download'),
      resume: resumeRamp,
    }))
    let connection = servers[0].adopt(first)
    await client.send(get('/') + get('/next'))
    const offsets: number[] = []
    for (let turn = 1; turn <= 8; turn++) {
      const have = client.received.length
      await client.until(() => client.received.length > have + 500_000)
      const stopped = await suspended(connection, { interrupt: true })
      offsets.push(stopped.response?.offset ?? -1)
      connection = await move(stopped, servers[turn % 2] as HttpServer)
    }
    const { body } = await client.response()
    expect(body.equals(ramp)).toBe(true)
    expect((await client.response()).body.toString()).toBe('after the download')
    // Each server sent a part, and none had to begin from the start.
    expect(offsets).toHaveLength(8)
    expect(offsets.every((offset, index) => offset > (offsets[index - 1] ?? 0))).toBe(true)
    expect([servers[0].requests, servers[1].requests]).toEqual([2, 0])
    expect(resets()).toBe(0)
  },
  60_000,
)
