import { expect, test } from 'bun:test'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ApiError, type ServeApiOptions, serveApi } from '../../src/api/index.ts'
import type { ApiConfig } from '../../src/config/index.ts'
import { FakeGateway } from './fake-gateway.ts'
import { onSocket, temporaryFolder, token, until, writeWithMode } from './support.ts'

const folder = temporaryFolder()
const tokenFile = join(folder, 'token')
const anyPort = { listen: { address: '127.0.0.1', port: 0 }, token: tokenFile }

const serve = (config: ApiConfig, options: Partial<ServeApiOptions> = {}) =>
  serveApi(new FakeGateway(), config, { onError: console.error, ...options })

/** What a refused start says. */
async function refusal(config: ApiConfig): Promise<string> {
  const error = await serve(config).then(
    () => expect.unreachable('the API was served'),
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(ApiError)
  return (error as ApiError).message.replaceAll(folder, '<folder>')
}

/** Leaves a socket behind that nobody listens on: what a killed gateway leaves. */
async function leaveSocket(path: string): Promise<void> {
  const script = 'Bun.serve({ unix: process.argv[1], fetch: () => new Response() }); console.log("listening")'
  const child = Bun.spawn([process.execPath, '-e', script, path], { stdout: 'pipe' })
  await child.stdout.getReader().read()
  child.kill('SIGKILL')
  await child.exited
}

const get = async (unix: string, path = '/v1/servers') => (await fetch(`http://gateway${path}`, { unix })).status

test('a socket for its owner only, in a folder that is made, gone after the end', async () => {
  const path = join(folder, 'run/xoffload/gateway.sock')
  const server = await serve({ socket: path })
  expect(server.address).toBe(`unix:${path}`)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(folder, 'run/xoffload'))).toEqual(['gateway.sock'])
  expect(await get(path)).toBe(200)
  await server.close()
  await server.close()
  expect(existsSync(path)).toBe(false)
})

test('any name of the host is good, for curl --unix-socket PATH http://x/v1/servers', async () => {
  const path = join(folder, 'host.sock')
  await using _ = await onSocket(new FakeGateway(), path)
  for (const host of ['x', 'localhost', 'gateway.example']) {
    expect((await fetch(`http://${host}/v1/servers`, { unix: path })).status).toBe(200)
  }
})

test('the longest path that a configuration may have', async () => {
  const path = join(folder, 'x'.repeat(99 - folder.length - '/'.length - '/s'.length), 's')
  expect(path).toHaveLength(99)
  await using _ = await onSocket(new FakeGateway(), path)
  expect(await get(path)).toBe(200)
})

test('the socket that a killed process left is replaced', async () => {
  const path = join(folder, 'left.sock')
  await leaveSocket(path)
  expect(existsSync(path)).toBe(true)
  const server = await serve({ socket: path })
  expect(await get(path)).toBe(200)
  await server.close()
})

test('a socket on which somebody listens is left alone', async () => {
  const path = join(folder, 'alive.sock')
  const first = await serve({ socket: path })
  expect(await refusal({ socket: path })).toBe(
    'the control API cannot listen on unix:<folder>/alive.sock: another process does; stop it, or give this gateway another "listen" in [api]',
  )
  expect(await get(path)).toBe(200)
  await first.close()
})

test('a file that is no socket is left alone', async () => {
  const path = join(folder, 'file')
  writeFileSync(path, 'precious')
  expect(await refusal({ socket: path })).toBe(
    'the control API cannot listen on unix:<folder>/file: there is a file with that name that is no socket',
  )
  expect(await Bun.file(path).text()).toBe('precious')
})

test('a folder that cannot be made is an error that says so', async () => {
  writeFileSync(join(folder, 'no-folder'), '')
  expect(await refusal({ socket: join(folder, 'no-folder/gateway.sock') })).toStartWith(
    'the control API cannot listen on unix:<folder>/no-folder/gateway.sock: ',
  )
})

test('the next process takes the socket over, and the one before does not take it away', async () => {
  const path = join(folder, 'over.sock')
  const first = await serve({ socket: path })
  const next = new FakeGateway()
  next.list = []
  const second = await onSocket(next, path, { takeOver: true })
  const servers = async () =>
    ((await (await fetch('http://gateway/v1/servers', { unix: path })).json()) as { servers: [] }).servers
  expect(await servers()).toEqual([])
  await first.close()
  expect(existsSync(path)).toBe(true)
  expect(await servers()).toEqual([])
  await second.close()
  expect(existsSync(path)).toBe(false)
})

test('closing ends orders that wait, and does not wait for readers that do not read', async () => {
  const path = join(folder, 'closing.sock')
  const gateway = new FakeGateway()
  gateway.outcome = (signal) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  const server = await onSocket(gateway, path)
  const move = fetch('http://gateway/v1/flows/10.0.0.0:40000-198.51.100.1:80/move', {
    unix: path,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"server":"s2","timeout":600000}',
  })
  await until(() => gateway.orders.length > 0)
  const begun = performance.now()
  await server.close()
  expect(performance.now() - begun).toBeLessThan(3000)
  expect((await move).status).toBe(503)
})

test.each(['127.0.0.1', '::1'])('on the loopback address %s, with the token', async (address) => {
  const server = await serve({ ...anyPort, listen: { address, port: 0 } })
  expect(server.address).toMatch(address === '::1' ? /^http:\/\/\[::1\]:\d+$/ : /^http:\/\/127\.0\.0\.1:\d+$/)
  const status = async (authorization?: string) =>
    (await fetch(`${server.address}/v1/servers`, authorization === undefined ? {} : { headers: { authorization } }))
      .status
  expect(await status(`Bearer ${token}`)).toBe(200)
  expect(await status(`Bearer ${token}x`)).toBe(401)
  expect(await status()).toBe(401)
  await server.close()
  expect(status()).rejects.toThrow()
})

test('not on an address that others can reach', async () => {
  expect(await refusal({ ...anyPort, listen: { address: '0.0.0.0', port: 0 } })).toBe(
    'the control API is not encrypted: it is not served on 0.0.0.0',
  )
})

test('a port that is taken is an error that says so', async () => {
  const server = await serve(anyPort)
  const port = Number(new URL(server.address).port)
  expect(await refusal({ ...anyPort, listen: { address: '127.0.0.1', port } })).toStartWith(
    `the control API cannot listen on 127.0.0.1:${port}: `,
  )
  await server.close()
})

test.each([
  ['absent', undefined, 0o600, 'the token file <folder>/absent cannot be read: there is no such file'],
  [
    'open',
    token,
    0o644,
    'the token file <folder>/open has mode 0644, so that others can use it: run chmod 0600 <folder>/open',
  ],
  [
    'writable',
    token,
    0o620,
    'the token file <folder>/writable has mode 0620, so that others can use it: run chmod 0600 <folder>/writable',
  ],
  [
    'short',
    token.slice(1),
    0o600,
    'the token in <folder>/short has 15 characters: at least 16 are needed, such as those of "openssl rand -hex 32"',
  ],
  [
    'empty',
    '\n',
    0o600,
    'the token in <folder>/empty has 0 characters: at least 16 are needed, such as those of "openssl rand -hex 32"',
  ],
  [
    'spaces',
    `${token} ${token}`,
    0o600,
    'the token in <folder>/spaces has characters that are not printable ASCII, or spaces',
  ],
  ['long', 'x'.repeat(5000), 0o600, 'the token file <folder>/long has 5000 bytes: that is no token'],
])('a token file that is %s is refused', async (name, text, mode, message) => {
  const path = join(folder, name)
  if (text !== undefined) writeWithMode(path, text, mode)
  expect(await refusal({ ...anyPort, token: path })).toBe(message)
})

test('a token file that the group may read is good', async () => {
  writeWithMode(join(folder, 'group'), token, 0o640)
  const server = await serve({ ...anyPort, token: join(folder, 'group') })
  await server.close()
})

test('a body that is too long is refused', async () => {
  const path = join(folder, 'body.sock')
  await using _ = await onSocket(new FakeGateway(), path)
  const response = await fetch('http://gateway/v1/rebalance', { unix: path, method: 'POST', body: 'x'.repeat(100_000) })
  expect(response.status).toBe(413)
})
