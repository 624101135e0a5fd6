// Debian's nginx as the gateway: what clients get whose connections it gives away, and what becomes of those that it keeps.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ports } from '../../src/deployment/configuration.ts'
import type { NginxRequest } from '../../src/deployment/nginx-gateway.ts'
import { buildNginxModule } from '../../src/deployment/nginx-module.ts'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import { wrk } from '../../src/peers/wrk.ts'
import { rampBytes } from '../../src/ramp/ramp.ts'
import { errorsOf, NginxFronted } from './nginx-gateway-hosts.ts'

setDefaultTimeout(120_000)

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
const SERVERS = ['server1', 'server2']
/** Bytes of an upload: more than a socket takes at once. */
const UPLOAD = 900_000
const OTHER_PORT = 8081

/** What curl says between two ordinary requests on the same connection. `@upload` is a large file; each starts with the path. */
const requests: readonly (readonly [name: string, path: string, ...options: string[]])[] = [
  ['GET', '/memory/1/20000'],
  ['a large answer', '/stream/1/2000000'],
  ['HEAD', '/memory/1/20000', '--head'],
  ['POST', `/upload/1/${UPLOAD}`, '--data-binary', '@upload', '--header', 'Expect:'],
  ['a chunked upload', `/upload/1/${UPLOAD}`, '-T', '@upload', '--header', 'Transfer-Encoding: chunked'],
  ['Expect: 100-continue', `/upload/1/${UPLOAD}`, '-T', '@upload', '--header', 'Expect: 100-continue'],
  ['a slow upload', `/upload/1/${UPLOAD}`, '-T', '@upload', '--limit-rate', '700k'],
  ['a slow reader', '/length/1/1000000', '--limit-rate', '700k'],
  ['HTTP/1.0', '/memory/1/1000', '--http1.0'],
  ['HTTP/1.0 keep-alive', '/memory/1/1000', '--http1.0', '--header', 'Connection: keep-alive'],
  ['Connection: close', '/memory/1/1000', '--header', 'Connection: close'],
  ['nothing there', '/none'],
]

let fronted: NginxFronted
let upload: string

beforeAll(async () => {
  await buildNginxModule()
  fronted = await NginxFronted.start({
    servers: SERVERS,
    limits: { headBytes: 4096 },
    nginx: { server: [`listen ${OTHER_PORT};`] },
  })
  upload = join(fronted.client.directory, 'upload')
  writeFileSync(upload, rampBytes(1, UPLOAD))
}, 300_000)
afterAll(() => fronted?.[Symbol.asyncDispose]())

/** Runs `use`, and gives what nginx has logged meanwhile, `count` requests or more. */
async function logged(count: number, use: () => Promise<unknown>): Promise<NginxRequest[]> {
  const before = fronted.nginx.requests.length
  await use()
  await fronted.until(() => fronted.nginx.requests.length >= before + count)
  return fronted.nginx.requests.slice(before)
}

/** Three requests on one connection, the second with these options. What the server says of itself and the time is left out. */
async function exchange(base: string, path: string, options: readonly string[]): Promise<string> {
  const ordinary = ['--include', `${base}/memory/7/100`]
  const meant = options.map((option, index) =>
    option === '@upload' ? `${options[index - 1] === '-T' ? '' : '@'}${upload}` : option,
  )
  const answer = await fronted.curl(
    ...ordinary,
    '--next',
    '--include',
    ...meant,
    `${base}${path}`,
    '--next',
    ...ordinary,
  )
  return answer.replaceAll(/^(?:date|x-served-by): .*$/gim, '')
}

test.each([...requests])('curl: %s', async (_, path, ...options) => {
  const { testbed } = fronted.hosts
  const expected = await exchange(`http://${testbed.host('server1').ipv4}:${ports.application}`, path, options)
  for (const address of [fronted.hosts.addresses.ipv4, `[${fronted.hosts.addresses.ipv6}]`]) {
    const [first] = await logged(1, async () => {
      expect(await fronted.leavesNothing(() => exchange(`http://${address}`, path, options))).toBe(expected)
    })
    expect(first).toMatchObject({ uri: '/memory/7/100', status: 0, outcome: 'handed-off' })
  }
})

test('servers are those that nginx has selected, in turn', async () => {
  const chosen = await logged(4, async () => {
    for (let count = 0; count < 4; count++) await fronted.curl(`${fronted.url}/memory/1/10`)
  })
  const servers = chosen.map(({ server }) => server.split(':')[0] ?? '')
  const handoffs = fronted.hosts.gateway.stdout.lines.filter((line) => line.includes('"event":"handoff"')).slice(-4)
  const addresses = handoffs.map((line) => fronted.hosts.testbed.host(JSON.parse(line).server).ipv4)
  expect(servers.toSorted()).toEqual(addresses.toSorted())
  expect(new Set(servers).size).toBe(2)
})

test('pipelined requests and a body go along', async () => {
  const get = (length: number) => `GET /memory/1/${length} HTTP/1.1\r\nHost: x\r\n\r\n`
  const post = 'POST /upload/1/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
  const payload = Buffer.from(get(10) + get(20) + post).toString('base64')
  const command = [
    process.execPath,
    rawClient,
    fronted.hosts.addresses.ipv4,
    `${ports.service}`,
    'read',
    payload,
  ] as const
  const { stdout } = await fronted.leavesNothing(() => fronted.client.run([...command]))
  const { received } = JSON.parse(stdout) as RawReport
  expect(received.match(/HTTP\/1.1 200 OK/g)?.length).toBe(3)
  expect(received.match(/content-length: (\d+)/gi)?.slice(0, 2)).toEqual(['Content-Length: 10', 'Content-Length: 20'])
})

test('clients that close in the middle of an answer leave nothing', async () => {
  await fronted.leavesNothing(async () => {
    const curl = `curl -sS ${fronted.url}/memory/1/10 ${fronted.url}/length/1/5000000 2>/dev/null`
    for (let round = 0; round < 5; round++) {
      const { stdout } = await fronted.client.run(['sh', '-c', `${curl} | head -c 100000 | wc -c`])
      expect(stdout.trim()).toBe('100000')
    }
  })
})

test('clients that reset while their connection is moved leave nothing', async () => {
  // Those of the test before stay for a moment.
  await fronted.until(() => fronted.rules('gateway') === 0)
  await fronted.leavesNothing(async () => {
    const payload = Buffer.from('GET /memory/1/10 HTTP/1.1\r\nHost: x\r\n\r\n').toString('base64')
    const { addresses, servers } = fronted.hosts
    using stopped = new DisposableStack()
    stopped.defer(() => {
      for (const server of servers) server.signal('SIGCONT')
    })
    for (const server of servers) server.signal('SIGSTOP')
    const program = fronted.client.spawn([
      process.execPath,
      rawClient,
      addresses.ipv4,
      `${ports.service}`,
      'reset',
      payload,
    ])
    await fronted.until(() => fronted.rules('gateway') === 1)
    program.signal('SIGTERM')
    await program.line(/"received"/)
    await fronted.hosts.gateway.line(/"failure":\{"reason":"(?:accept-timeout|client-gone)"/)
  })
})

test('wrk sees no error, and nothing is left', async () => {
  const before = fronted.count('handed-off')
  await fronted.leavesNothing(async () => {
    for (const headers of [{}, { Connection: 'close' }]) {
      const url = `${fronted.url}/memory/1/1000`
      const result = await wrk(fronted.client, { url, duration: 2, connections: 32, timeout: 20, headers })
      expect([result.requests > 50, errorsOf(result)]).toEqual([true, 0])
    }
  })
  expect(fronted.count('handed-off') - before).toBeGreaterThan(50)
  expect(fronted.nginx.complaints).toEqual([])
})

test.each([
  [
    'a head that the gateway does not take',
    ['--header', `X: ${'x'.repeat(5000)}`],
    ports.service,
    /larger than the limit/,
  ],
  ['a port that is none of the service', [], OTHER_PORT, /:8081 is no service address/],
])('nginx proxies %s, and says why', async (_, options, port, reason) => {
  const [request] = await logged(1, async () => {
    const answer = await fronted.leavesNothing(() =>
      fronted.curl('-i', ...options, `${fronted.url}:${port}/memory/1/10`),
    )
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\nServer: nginx/)
  })
  expect(request).toMatchObject({ status: 200, outcome: 'refused' })
  expect(request?.reason).toMatch(reason)
})

test('the metrics count what nginx has given', async () => {
  const metrics = await fronted.hosts.metrics()
  const handedOff = [...metrics].find(([name]) => /handoffs_total.*gateway-to-server.*handed-off/.test(name))?.[1] ?? 0
  expect(handedOff).toBe(fronted.count('handed-off'))
  expect(metrics.get('xoffload_accepted_connections_total')).toBeGreaterThanOrEqual(handedOff)
})
