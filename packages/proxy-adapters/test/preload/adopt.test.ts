// Connections that come out of the listening socket of programs that know nothing of it.
import { afterEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { PreloadError, PreloadServer, preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { establishedSocket } from '../established-socket.ts'
import { RawClient } from '../raw-client.ts'
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
  socketPath,
  start,
} from './support.ts'

afterEach(cleanUp)

const names = Object.keys(programs) as ProgramName[]

async function ask(client: RawClient, request: string, toHead = false): Promise<string> {
  await client.send(request)
  const { status, body } = await client.response(toHead)
  return `${status} ${body}`
}

async function ordinaryClient(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  afterTest(() => client.close())
  return client
}

async function rejection(promise: Promise<unknown>): Promise<PreloadError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof PreloadError) return error
    throw error
  }
  throw new Error('it did not reject')
}

test.each(names)('%s serves an adopted connection, and sees its client', async (name) => {
  const { server } = await install(name)
  const { fd, client, clientPort } = await adoptable()
  await server.adopt(fd).taken
  const [address, port] = (await ask(client, get('/who'))).split(' ').slice(1)
  expect([address, Number(port)]).toEqual(['127.0.0.1', clientPort])
  for (let index = 0; index < 20; index++) expect(await ask(client, get(`/${index}`))).toBe(`200 GET /${index} `)
})

async function adoptable() {
  const established = await establishedSocket()
  afterTest(() => established.client.close())
  return { ...established, clientPort: established.client.localPort }
}

test.each(names)('%s: uploads, HEAD, pipelining, chunks and Connection: close', async (name) => {
  const { server } = await install(name)
  const { client, closed } = await adoptClient(server)
  const post = (length: string, body: string) => `POST /p HTTP/1.1\r\nHost: test\r\n${length}\r\n\r\n${body}`
  expect(await ask(client, post('Content-Length: 5', 'hello'))).toBe('200 POST /p hello')
  expect(await ask(client, post('Transfer-Encoding: chunked', '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'))).toBe(
    '200 POST /p abcde',
  )
  expect(await ask(client, 'HEAD /h HTTP/1.1\r\nHost: test\r\n\r\n', true)).toBe('200 ')
  await client.send(get('/1') + get('/2') + get('/3'))
  for (const path of ['/1', '/2', '/3']) expect((await client.response()).body.toString()).toBe(`GET ${path} `)
  expect(await ask(client, get('/stream'))).toBe('200 first second')
  expect(await ask(client, get('/close'))).toBe('200 bye')
  await client.end()
  await closed
})

test.each(names)('%s: what the client sent before the adoption is served', async (name) => {
  const { server } = await install(name)
  const { fd, client } = await adoptable()
  await client.send(get('/early') + get('/next'))
  server.adopt(fd)
  expect((await client.response()).body.toString()).toBe('GET /early ')
  expect((await client.response()).body.toString()).toBe('GET /next ')
})

test.each(names)('%s: bytes that were never sent go out first', async (name) => {
  const { server } = await install(name)
  const { fd, client } = await adoptable()
  const unsent = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  server.adopt(fd, { unsent })
  expect((await client.response()).body.toString()).toBe('ok')
  expect(await ask(client, get('/after'))).toBe('200 GET /after ')
})

test.each(names)('%s serves ordinary connections as before', async (name) => {
  const { program, server } = await install(name)
  await adoptClient(server)
  const client = await ordinaryClient(program.port)
  expect(await ask(client, get('/ordinary'))).toBe('200 GET /ordinary ')
})

test.each(names)(
  '%s: neither connections nor descriptors stay behind',
  async (name) => {
    const { program, server } = await install(name)
    const first = await adoptClient(server)
    await ask(first.client, get())
    first.client.close()
    await first.closed
    const before = descriptors(program.pid)
    const own = descriptors(process.pid)
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 50 }, () => adoptClient(server)))
      for (const { client } of clients) expect(await ask(client, get())).toBe('200 GET / ')
      for (const { client } of clients) client.close()
      await Promise.all(clients.map(({ closed }) => closed))
    }
    await eventually(() => descriptors(program.pid) <= before && descriptors(process.pid) <= own)
    expect(server.connections).toBe(0)
  },
  60_000,
)

test('an IPv6 listener gives IPv4 connections with mapped addresses', async () => {
  const { server } = await install('node', { hostname: '::' })
  const { client } = await adoptClient(server)
  expect(await ask(client, get('/who'))).toStartWith('200 ::ffff:127.0.0.1 ')
})

test('a knock without the secret is an ordinary connection', async () => {
  const { program, server } = await install('node')
  const stranger = await ordinaryClient(program.port)
  await stranger.send(`xoffload-knock\r\n${'x'.repeat(16)}\r\n\r\n`)
  expect((await stranger.response()).status).toBe(400)
  const { client } = await adoptClient(server)
  expect(await ask(client, get())).toBe('200 GET / ')
})

test('a program without the shim is named', async () => {
  const program = await start(programs.node, {})
  const server = await PreloadServer.open({
    socket: socketPath(),
    listener: { address: '127.0.0.1', port: program.port },
    adoptTimeout: 200,
  })
  afterTest(() => server.close())
  const error = await rejection(server.ready({ timeoutMilliseconds: 100 }))
  expect(error.reason).toBe('not-loaded')
  expect(error.message).toContain(`node (process ${program.pid})`)
  const { fd, client } = await adoptable()
  expect((await rejection(server.adopt(fd).taken)).reason).toBe('not-loaded')
  await client.end()
})

test('nobody listens: an adoption fails, and its client hears of it', async () => {
  const program = await start(programs.node, {})
  const { port } = program
  program.kill('SIGKILL')
  await program.exited
  const server = await PreloadServer.open({
    socket: socketPath(),
    listener: { address: '127.0.0.1', port },
    adoptTimeout: 200,
  })
  afterTest(() => server.close())
  expect((await rejection(server.ready({ timeoutMilliseconds: 50 }))).reason).toBe('no-listener')
  const { fd, client } = await adoptable()
  expect((await rejection(server.adopt(fd).taken)).reason).toBe('no-listener')
  await client.end()
})

test('a program that hangs: the adoption fails in time, and later ones come through', async () => {
  const { program, server } = await install('node', { adoptTimeout: 300 })
  program.kill('SIGSTOP')
  const { fd, client } = await adoptable()
  expect((await rejection(server.adopt(fd).taken)).reason).toBe('timeout')
  await client.end()
  program.kill('SIGCONT')
  const { client: next } = await adoptClient(server)
  expect(await ask(next, get())).toBe('200 GET / ')
})

test('more connections than may wait are refused', async () => {
  const { program, server } = await install('node', { maximumWaiting: 3, adoptTimeout: 500 })
  program.kill('SIGSTOP')
  const sockets = await Promise.all(Array.from({ length: 4 }, adoptable))
  const taken = sockets.slice(0, 3).map(({ fd }) => server.adopt(fd).taken)
  expect(() => server.adopt(sockets[3]?.fd as number)).toThrow('wait for the server program')
  await Promise.all(taken.map(rejection))
})

test('kill -9 of the program: each connection is told, and a new one takes over', async () => {
  const { program, server, socket } = await install('node')
  const clients = await Promise.all(Array.from({ length: 20 }, () => adoptClient(server)))
  program.kill('SIGKILL')
  await Promise.all(clients.map(({ closed }) => closed))
  await Promise.all(clients.map(({ client }) => client.end()))
  expect(server.connections).toBe(0)
  server.close()
  const again = await start(programs.node, preloadEnvironment(socket))
  const next = await PreloadServer.open({ socket, listener: { address: '127.0.0.1', port: again.port } })
  afterTest(() => next.close())
  const { client } = await adoptClient(next)
  expect(await ask(client, get())).toBe('200 GET / ')
})

test('an agent that starts again: what was adopted goes on, and new connections come', async () => {
  const { program, server, socket } = await install('node')
  const { client } = await adoptClient(server)
  server.close()
  expect(await ask(client, get('/alone'))).toBe('200 GET /alone ')
  const next = await PreloadServer.open({ socket, listener: { address: '127.0.0.1', port: program.port } })
  afterTest(() => next.close())
  const { client: other } = await adoptClient(next)
  expect(await ask(other, get('/new'))).toBe('200 GET /new ')
  expect(await ask(client, get('/still'))).toBe('200 GET /still ')
})

test('only one agent has a socket, and a dead one leaves it to the next', async () => {
  const { server, socket, program } = await install('node')
  const options = { socket, listener: { address: '127.0.0.1', port: program.port } }
  const error = await rejection(PreloadServer.open(options))
  expect(error.reason).toBe('busy')
  const { client } = await adoptClient(server)
  expect(await ask(client, get())).toBe('200 GET / ')
})

test('a child of the program has nothing of it', async () => {
  const socket = socketPath()
  const script = `
    const { createServer } = require('node:http')
    const { execFileSync } = require('node:child_process')
    createServer((_, response) => response.end(execFileSync('ls', ['-l', '/proc/self/fd'])))
      .listen(0, '127.0.0.1', function () { process.stdout.write(this.address().port + '\\n') })`
  const program = await start(['node', '-e', script], preloadEnvironment(socket))
  const server = await PreloadServer.open({ socket, listener: { address: '127.0.0.1', port: program.port } })
  afterTest(() => server.close())
  const { client } = await adoptClient(server)
  const listing = await ask(client, get())
  expect(listing).toStartWith('200 ')
  // Its standard streams are sockets.
  expect(listing).not.toMatch(/ ([3-9]|\d\d+) -> socket:/)
  const environment = readFileSync(`/proc/${program.pid}/environ`, 'utf8')
  expect(environment).toContain(socket)
})
