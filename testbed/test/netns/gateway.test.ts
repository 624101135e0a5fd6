/** What users and their clients do wrong, at a real gateway with real servers: a clear answer each, and nothing is left of it. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { parseHandoff } from '../../src/deployment/handoff-log.ts'
import { command, startGateway, startServer } from '../../src/deployment/programs.ts'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import type { Host } from '../../src/host.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import { Testbed } from '../../src/testbed.ts'
import { connectRaw } from './raw-connection.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
const TIMEOUT = 30_000
/** The bodies that the tests ask for. */
const SIZES = [3, 9, 10, 20, 30, 1000]

let testbed: Testbed
let configuration: Configuration
let gateway: HostProcess
let servers: HostProcess[]
let service: { ipv4: string; ipv6: string }

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server1', 'server2'], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  service = testbed.service
  const hosts = [testbed.host('server1'), testbed.host('server2')]
  configuration = await Configuration.create(testbed.host('gateway'), hosts, testbed.service)
  servers = await Promise.all(hosts.map((host) => startServer(host, configuration)))
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) =>
    Object.assign(config, { limits: { headTimeout: 3000, acceptTimeout: 1000, headBytes: 4096 } }),
  )
  gateway = await startGateway(testbed.host('gateway'), hosts, configuration, file)
  await makeBodies(hosts)
}, TIMEOUT)

afterAll(() => testbed?.close())

/** Runs `use` and expects that files, rules and map entries are as many as before, once everything had the time to end. */
async function leavesNothing<T>(use: () => Promise<T>): Promise<T> {
  const count = () => [openFiles(gateway), ...servers.filter(({ running }) => running).map(openFiles), rules()]
  const before = count()
  const result = await use()
  const deadline = performance.now() + 20_000
  // Less is no leak: a program may have closed what an earlier test had used.
  const isMore = () => count().some((value, index) => value > (before[index] ?? 0))
  while (isMore() && performance.now() < deadline) await Bun.sleep(20)
  if (isMore()) expect(count()).toEqual(before)
  return result
}

/** The application makes each body once, and keeps it in a file in memory: that is no leak. */
async function makeBodies(hosts: readonly Host[]): Promise<void> {
  const urls = hosts.flatMap(({ ipv4 }) => SIZES.map((size) => `http://${ipv4}:${ports.application}/bytes/${size}`))
  await client().run(['curl', '-sS', '--fail', ...urls.flatMap((url) => ['-o', '/dev/null', url])])
}

function rules(): number {
  return ['gateway', 'server1', 'server2'].reduce((sum, name) => sum + ruleCount(testbed.host(name)), 0)
}

function raw(mode: string, bytes: string, address = service.ipv4): HostProcess {
  const payload = Buffer.from(bytes, 'latin1').toString('base64')
  return client().spawn([process.execPath, rawClient, address, `${ports.service}`, mode, payload])
}

async function answer(mode: string, bytes: string, address?: string): Promise<RawReport> {
  return JSON.parse(await raw(mode, bytes, address).line(/"received"/))
}

/** The next line of the gateway's log that matches, within 20 s. */
function nextLine(pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      stop()
      reject(new Error(`the gateway logged nothing like ${pattern} within 20 s`))
    }, 20_000)
    const stop = gateway.stdout.onLine((line) => {
      if (!pattern.test(line)) return
      clearTimeout(timer)
      stop()
      resolve(line)
    })
  })
}

function client(): Host {
  return testbed.host('client')
}

async function curl(...args: string[]): Promise<string> {
  return (await client().run(['curl', '-sS', '--max-time', '10', ...args])).stdout
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

test(
  'a request that is handed off is answered by a server, over IPv4 and IPv6',
  async () => {
    for (const host of [service.ipv4, `[${service.ipv6}]`]) {
      const served = await leavesNothing(() => curl('-D', '-', '-o', '/dev/null', `http://${host}/bytes/1000`))
      expect(served).toContain('200 OK')
      expect(served).toMatch(/x-served-by: server[12]/)
    }
    expect(gateway.stdout.lines.filter((line) => line.includes('"handed-off"')).length).toBe(2)
  },
  TIMEOUT,
)

test(
  'keep-alive, pipelining and an upload behind the first request stay with the connection',
  async () => {
    const pipelined = `${get('/bytes/10')}${get('/bytes/20')}POST /bytes/30 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`
    const { received } = await leavesNothing(() => answer('read', pipelined))
    expect(received.match(/HTTP\/1.1 200 OK/g)?.length).toBe(3)
    expect(received.match(/content-length: (\d+)/gi)).toEqual([
      'Content-Length: 10',
      'Content-Length: 20',
      'Content-Length: 30',
    ])
  },
  TIMEOUT,
)

test.each([
  ['no HTTP at all', 'hello\r\n\r\n', 400],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n', 400],
  ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
  ['a length and chunks', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['a version that is not spoken', 'GET / HTTP/3.0\r\nHost: x\r\n\r\n', 505],
  [
    'a head that is longer than the gateway takes',
    `GET /bytes/10 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${'a'.repeat(5000)}\r\n\r\n`,
    200,
  ],
])(
  '%s is answered by a server, through the gateway',
  async (_name, bytes, status) => {
    const { received } = await leavesNothing(() => answer('read', bytes))
    expect(received).toStartWith(`HTTP/1.1 ${status} `)
  },
  TIMEOUT,
)

test(
  'half a head is answered by a server when its time is over there too, and silence with a close',
  async () => {
    const head = 'GET / HTTP/1.1\r\nHo'
    const half = async (): Promise<string> => await raw('read', head).line(/"received"/, { timeout: 30_000 })
    await leavesNothing(async () => {
      const [answered, silent] = await Promise.all([half(), answer('read', '')])
      expect([JSON.parse(answered).received.slice(0, 12), silent.received]).toEqual(['HTTP/1.1 408', ''])
    })
  },
  2 * TIMEOUT,
)

test(
  'a client that has closed its half gets its answer through the gateway',
  async () => {
    const { received } = await leavesNothing(() => answer('half-close', get('/bytes/10')))
    expect(received).toStartWith('HTTP/1.1 200 OK')
  },
  TIMEOUT,
)

test(
  'a server that does not answer the offer: the request is relayed when its time is over',
  async () => {
    await leavesNothing(async () => {
      const connection = await connectRaw(client(), service.ipv4, ports.service)
      for (const server of servers) server.signal('SIGSTOP')
      connection.send(`GET /bytes/10 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      await gateway.line(/"accept-timeout"/)
      for (const server of servers) server.signal('SIGCONT')
      expect(await connection.received).toStartWith('HTTP/1.1 200 OK')
    })
  },
  TIMEOUT,
)

test(
  'a client that resets in the middle of a handoff',
  async () => {
    await leavesNothing(async () => {
      const connection = await connectRaw(client(), service.ipv4, ports.service)
      const logged = nextLine(/"event":"handoff"/)
      for (const server of servers) server.signal('SIGSTOP')
      connection.send(get('/bytes/10'))
      const deadline = performance.now() + 10_000
      while (ruleCount(testbed.host('gateway')) === 0 && performance.now() < deadline) await Bun.sleep(2)
      expect(ruleCount(testbed.host('gateway'))).toBe(1)
      connection.reset()
      const outcome = parseHandoff(await logged)?.outcome
      for (const server of servers) server.signal('SIGCONT')
      expect(outcome).toMatch(/^(rolled-back|lost)$/)
    })
  },
  TIMEOUT,
)

test(
  'a server that refuses, here because it does not have the address, is proxied to',
  async () => {
    const host = testbed.host('server1')
    const lost = nextLine(/"server-down".*"server1"/)
    await servers[0]?.stop()
    await lost
    const file = await configuration.serverFile(host)
    editConfiguration(file, (config) => {
      config.services = [{ address: service.ipv6, port: ports.service }]
    })
    const connected = nextLine(/"server-up".*"server1"/)
    servers[0] = await startServer(host, configuration, file)
    await connected
    await makeBodies([host])
    const answers = await leavesNothing(async () => [
      await curl('-D', '-', '-o', '/dev/null', `http://${service.ipv4}/bytes/9`),
      await curl('-D', '-', '-o', '/dev/null', `http://${service.ipv4}/bytes/9`),
    ])
    expect(answers.map((text) => /x-served-by: (server\d)/.exec(text)?.[1]).sort()).toEqual(['server1', 'server2'])
    expect(gateway.stdout.lines.some((line) => line.includes('"not-authorised"'))).toBe(true)
  },
  TIMEOUT,
)

test(
  'servers that are down: one is passed over, without any the client hears it',
  async () => {
    await servers[0]?.stop()
    await leavesNothing(async () => {
      for (let request = 0; request < 3; request++) expect(await curl(`http://${service.ipv4}/bytes/3`)).toHaveLength(3)
    })
    await servers[1]?.stop()
    const { received } = await leavesNothing(() => answer('read', get('/bytes/3')))
    expect(received).toMatch(/^HTTP\/1.1 50[23] /)
  },
  TIMEOUT,
)

test(
  'at SIGTERM gateway and server give back what they took',
  async () => {
    await gateway.stop()
    const found = await testbed.host('gateway').run(['tc', 'filter', 'show', 'dev', 'eth0', 'ingress'])
    expect(found.stdout).toBe('')
    for (const name of ['gateway', 'server1']) {
      const links = await testbed.host(name).run(['ip', '-o', 'link'])
      expect(links.stdout.trim().split('\n').length).toBe(2)
    }
    const addresses = await testbed.host('server1').run(['ip', '-o', 'addr', 'show', 'dev', 'lo'])
    expect(addresses.stdout).not.toContain(service.ipv4)
  },
  TIMEOUT,
)

test.each([
  ['a device that does not exist', { device: 'eth9' }, /eth9/],
  ['an unknown key', { devise: 'eth0' }, /devise.*did you mean "device"/s],
  ['a missing certificate', { control: { ca: 'none.crt', certificate: 'none.crt', key: 'none.key' } }, /control\.ca/],
])(
  '%s stops the gateway with one sentence',
  async (_name, change, expected) => {
    const file = await configuration.gatewayFile()
    editConfiguration(file, (config) => Object.assign(config, change))
    const { exitCode, stderr } = await testbed
      .host('gateway')
      .run([process.execPath, command, 'gateway', '-c', file], { allowFailure: true })
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(expected)
    expect(stderr).not.toContain('    at ')
  },
  TIMEOUT,
)

test(
  'without privileges it says which are missing',
  async () => {
    const file = await configuration.gatewayFile()
    const { exitCode, stderr } = await testbed
      .host('gateway')
      .run(['setpriv', '--bounding-set=-all', '--inh-caps=-all', process.execPath, command, 'gateway', '-c', file], {
        allowFailure: true,
      })
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/CAP_|root/)
    expect(stderr).not.toContain('    at ')
  },
  TIMEOUT,
)

test(
  'a kernel without BTF is no obstacle',
  async () => {
    const file = await configuration.gatewayFile()
    const hidden = `mount -t tmpfs none /sys/kernel/btf 2>/dev/null || mount -t tmpfs none /sys/kernel; exec "$@"`
    const program = testbed
      .host('gateway')
      .spawn(['unshare', '--mount', 'sh', '-c', hidden, 'sh', process.execPath, command, 'gateway', '-c', file])
    await program.line(/"event":"ready"/)
    expect(await program.stop()).toBe(0)
  },
  TIMEOUT,
)
