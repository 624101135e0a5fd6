// nginx answers connections that it was given as it answers its own: byte by byte.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { type Host, nginxServer, reportOf, Testbed } from '@xoffload/testbed'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import { type AdoptingNginx, adoptingNginx, files } from './adopting-nginx.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
const PORT = 80
const server = [
  'location = /moved { return 301 /1k; }',
  'location = /here { return 200 "$server_port $scheme $request_method $http_x"; }',
  'location /put { client_max_body_size 1m; dav_methods PUT DELETE; }',
  'location /private { deny all; }',
]
const http = [
  'keepalive_timeout 2s;',
  'client_header_timeout 2s;',
  'client_body_timeout 2s;',
  'gzip on;',
  'gzip_min_length 1;',
]

let testbed: Testbed
let client: Host
const adopted: Host[] = []
const setups: AdoptingNginx[] = []
let plain: Host

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'plain', 'kept', 'moved'] })
  client = testbed.host('client')
  plain = testbed.host('plain')
  await nginxServer(plain, { port: PORT, listen: [`${PORT}`], files, http, server })
  for (const [name, every] of [
    ['kept', undefined],
    ['moved', 1],
  ] as const) {
    const host = testbed.host(name)
    adopted.push(host)
    setups.push(await adoptingNginx(host, { port: PORT, http, server, ...(every !== undefined && { every }) }))
  }
  // Last-Modified and ETag follow from the time.
  for (const host of [plain, ...adopted])
    for (const path of filesOf(host.directory)) utimesSync(path, 1_000_000, 1_000_000)
})

afterAll(async () => {
  for (const setup of setups) await setup[Symbol.asyncDispose]()
  await testbed.close()
})

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.endsWith('/root'))
    .map((entry) => join(entry.parentPath, entry.name))
}

async function answer(host: Host, mode: string, request: string): Promise<string> {
  const payload = Buffer.from(request, 'latin1').toString('base64')
  const { stdout } = await client.run([process.execPath, rawClient, host.ipv4, `${PORT}`, mode, payload], {
    timeout: 30_000,
  })
  const { received, error } = JSON.parse(stdout) as RawReport
  return `${received.replaceAll(/^Date: .*$/gm, 'Date: -')}${error ?? ''}`
}

const get = (path: string, ...fields: string[]) => ['GET', path, ...fields]
function request([method, path, ...fields]: string[], body = ''): string {
  return `${[`${method} ${path} HTTP/1.1`, 'Host: test', ...fields].join('\r\n')}\r\n\r\n${body}`
}
const close = request(get('/empty', 'Connection: close'))

test.each([
  ['one request', request(get('/1k'))],
  ['keep-alive', request(get('/1k')) + request(get('/20k')) + close],
  ['HEAD', request(['HEAD', '/1m']) + request(['HEAD', '/none']) + close],
  ['an empty file', request(get('/empty')) + close],
  ['nothing there', request(get('/none')) + close],
  ['forbidden', request(get('/private')) + close],
  ['a redirect', request(get('/moved')) + close],
  ['variables', request(get('/here', 'X: value')) + close],
  ['a range', request(get('/1m', 'Range: bytes=1000-1999')) + close],
  ['an open range', request(get('/1m', 'Range: bytes=1048570-')) + close],
  ['a range beyond', request(get('/1k', 'Range: bytes=5000-')) + close],
  ['not modified', request(get('/1k', 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT')) + close],
  ['HTTP/1.0', 'GET /1k HTTP/1.0\r\n\r\n'],
  ['HTTP/1.0 keep-alive', `GET /1k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n${close}`],
  ['HTTP/0.9', 'GET /1k\r\n'],
  ['a body that nobody wants', request(['POST', '/1k', 'Content-Length: 5'], 'hello') + close],
  ['an upload', request(['PUT', '/put/a', 'Content-Length: 5'], 'hello') + close],
  [
    'an upload in chunks',
    request(['PUT', '/put/b', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n') + close,
  ],
  ['100-continue', request(['PUT', '/put/c', 'Expect: 100-continue', 'Content-Length: 5'], 'hello') + close],
  ['too much', request(['PUT', '/put/d', 'Content-Length: 2000000'], 'hello')],
  ['no Host', 'GET /1k HTTP/1.1\r\n\r\n'],
  ['two Hosts', request(get('/1k', 'Host: other'))],
  ['two lengths', request(['POST', '/1k', 'Content-Length: 5', 'Content-Length: 6'], 'hello!') + close],
  [
    'length and chunks',
    request(['POST', '/1k', 'Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n') + close,
  ],
  ['bare line feeds', `GET /1k HTTP/1.1\nHost: test\n\n${close}`],
  ['blank lines before', `\r\n\r\n${request(get('/1k'))}${close}`],
  ['a space before a colon', request(get('/1k', 'X : 1'))],
  ['a folded field', request(get('/1k', 'X: 1\r\n 2')) + close],
  ['no HTTP', 'hello\r\n\r\n'],
  ['half a request', 'GET /1k HT'],
  ['half a body', request(['PUT', '/put/e', 'Content-Length: 50'], 'hello')],
  ['an unknown method', request(['BREW', '/1k']) + close],
  ['a long target', request(get(`/${'x'.repeat(9000)}`))],
  ['twenty at once', request(get('/1k')).repeat(20) + close],
])(
  '%s',
  async (_, sent) => {
    const expected = await answer(plain, 'read', sent)
    for (const host of adopted) expect(await answer(host, 'read', sent)).toBe(expected)
  },
  60_000,
)

test('a client that ends its half', async () => {
  const expected = await answer(plain, 'half-close', request(get('/20k')))
  expect(expected.length).toBeGreaterThan(20_000)
  for (const host of adopted) expect(await answer(host, 'half-close', request(get('/20k')))).toBe(expected)
}, 60_000)

test('it was so with connections that were moved', async () => {
  const [kept, moved] = setups as [AdoptingNginx, AdoptingNginx]
  expect([(await reportOf(kept.agent)).takenBack, (await reportOf(kept.agent)).failed]).toEqual([0, 0])
  const { takenBack, failed } = await reportOf(moved.agent)
  expect(failed).toBe(0)
  // One of each connection that began with a request in order.
  expect(takenBack).toBeGreaterThanOrEqual(20)
})
