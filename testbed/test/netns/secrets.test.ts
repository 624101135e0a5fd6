/** What clients send and get is in no log, whichever way a handoff ends: neither as text nor in another form. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { command, startGateway, startServer } from '../../src/deployment/programs.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { HttpClient } from '../../src/kill/client.ts'
import { Testbed } from '../../src/testbed.ts'
import { partsOfSecretIn, SECRET } from '../secret.ts'
import { connectRaw, type RawConnection } from './raw-connection.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
const TIMEOUT = 30_000
/** The longest snapshot of this gateway, in bytes: the smallest that can be configured. */
const SNAPSHOT_LIMIT = 65_536

let testbed: Testbed
let configuration: Configuration
let gateway: HostProcess
let server: HostProcess

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server'], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  configuration = await Configuration.create(testbed.host('gateway'), [testbed.host('server')], testbed.service)
  server = await startVerboseServer({})
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) => {
    config.limits = {
      headTimeout: 3000,
      acceptTimeout: 1000,
      commitTimeout: 1000,
      headBytes: 4096,
      snapshotBytes: SNAPSHOT_LIMIT,
    }
  })
  gateway = await startGateway(testbed.host('gateway'), [testbed.host('server')], configuration, file)
}, TIMEOUT)

afterAll(() => testbed?.close())

async function startVerboseServer(change: object): Promise<HostProcess> {
  const file = await configuration.serverFile(testbed.host('server'))
  editConfiguration(file, (config) => Object.assign(config, { log: 'handoffs' }, change))
  return startServer(testbed.host('server'), configuration, file)
}

/** Sends bytes on a connection of its own; the client prints what it got. */
function send(bytes: string): HostProcess {
  const payload = Buffer.from(bytes, 'latin1').toString('base64')
  const words = [process.execPath, rawClient, testbed.service?.ipv4 ?? '', `${ports.service}`, 'read', payload]
  return testbed.host('client').spawn(words as [string, ...string[]])
}

/** The gateway's next log line that matches, within 20 s. */
function nextLine(pattern: RegExp): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const timer = setTimeout(() => reject(new Error(`the gateway logged nothing like ${pattern} within 20 s`)), 20_000)
  const stop = gateway.stdout.onLine((line) => pattern.test(line) && resolve(line))
  return promise.finally(() => {
    clearTimeout(timer)
    stop()
  })
}

const nextHandoff = () => nextLine(/"event":"handoff"/)

/** Resolves when the gateway has as many rules. */
async function rules(count: number): Promise<void> {
  const deadline = performance.now() + 10_000
  while (ruleCount(testbed.host('gateway')) !== count) {
    if (performance.now() > deadline) throw new Error(`the gateway does not come to have ${count} rules within 10 s`)
    await Bun.sleep(2)
  }
}

function connect(): Promise<RawConnection> {
  return connectRaw(testbed.host('client'), testbed.service?.ipv4 ?? '', ports.service)
}

/** Stops the server and sends a request. Resolves when the gateway has locked its flow. */
async function stopAndLock(bytes: string): Promise<RawConnection> {
  await rules(0)
  const client = await connect()
  server.signal('SIGSTOP')
  client.send(bytes)
  await rules(1)
  return client
}

/** Resolves when the gateway's kernel has this many bytes that the gateway has not read. */
async function received(bytes: number): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const { stdout } = await testbed
      .host('gateway')
      .run(['ss', '-Htn', 'state', 'established', 'sport', `= :${ports.service}`])
    if (stdout.split('\n').some((line) => Number(line.trim().split(/\s+/)[0]) === bytes)) return
    if (performance.now() > deadline) throw new Error(`${bytes} bytes have not arrived within 10 s:\n${stdout}`)
  }
}

/** Resolves when so many clients are connected to the server through the gateway's process. */
async function relayed(count: number): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const { stdout } = await testbed
      .host('server')
      .run(['ss', '-Htn', 'state', 'established', 'sport', `= :${ports.application}`])
    if (stdout.split('\n').filter(Boolean).length === count) return
    if (performance.now() > deadline) throw new Error(`not ${count} connections are relayed within 10 s:\n${stdout}`)
  }
}

const head = `Host: x\r\nAuthorization: Bearer ${SECRET}\r\nCookie: id=${SECRET}\r\nConnection: close\r\n`
const get = `GET /bytes/10?token=${SECRET} HTTP/1.1\r\n${head}\r\n`
const post = (body: string) => `POST /bytes/10 HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`

/** Programs of this test that have ended, and those that run. */
const ended: HostProcess[] = []

/** After every test, so that the one that leaks is named. */
function expectNoSecret(): void {
  for (const program of [gateway, server, ...ended]) {
    expect(partsOfSecretIn(program.stdout.text)).toEqual([])
    expect(partsOfSecretIn(program.stderr.text)).toEqual([])
  }
}

test(
  'a handoff, with the secret in the head and in the body',
  async () => {
    for (const request of [get, post(SECRET)]) {
      const logged = nextHandoff()
      await send(request).line(/HTTP\/1\.1 [24]/)
      expect(await logged).toContain('"handed-off"')
    }
    expectNoSecret()
  },
  TIMEOUT,
)

test(
  'a snapshot that is too long',
  async () => {
    // Room for all of it: the client writes it at once, and it is at the gateway before the gateway reads anything.
    for (const [host, setting] of [
      ['gateway', 'tcp_rmem'],
      ['client', 'tcp_wmem'],
    ] as const)
      await testbed.host(host).run(['sh', '-c', `echo 4096 1000000 2000000 >/proc/sys/net/ipv4/${setting}`])
    const request = post(SECRET.repeat(3300))
    expect(request.length).toBeGreaterThan(SNAPSHOT_LIMIT)
    const logged = nextHandoff()
    gateway.signal('SIGSTOP')
    const client = await connect()
    client.send(request)
    await received(request.length)
    gateway.signal('SIGCONT')
    expect(await logged).toContain('"failure"')
    await client.received
    expectNoSecret()
  },
  TIMEOUT,
)

test(
  'a server that does not answer, and a client that goes away meanwhile',
  async () => {
    const first = nextHandoff()
    const patient = await stopAndLock(get)
    expect(await first).toContain('"accept-timeout"')
    server.signal('SIGCONT')
    expect(await patient.received).toStartWith('HTTP/1.1 404 ')
    const second = nextHandoff()
    const client = await stopAndLock(get)
    client.reset()
    expect(await second).toContain('"failure"')
    server.signal('SIGCONT')
    expectNoSecret()
  },
  TIMEOUT,
)

test.each([
  ['no HTTP', `${SECRET}\r\n\r\n`, '400'],
  ['a head that is longer than the gateway takes', `GET / HTTP/1.1\r\nX: ${SECRET.repeat(300)}\r\n\r\n`, '400'],
])(
  'a request that cannot be read: %s',
  async (_name, bytes, status) => {
    await send(bytes).line(new RegExp(`HTTP/1\\.1 ${status}`), { timeout: 20_000 })
    expectNoSecret()
  },
  TIMEOUT,
)

test(
  'half a head, which a server gets when its time is over',
  async () => {
    await relayed(0)
    const client = await HttpClient.connect(testbed.host('client'), testbed.service?.ipv4 ?? '', ports.service)
    client.write(`GET /bytes/10 HTTP/1.1\r\nAuthorization: Bearer ${SECRET}`)
    await relayed(1)
    client.write('\r\nHost: x\r\n\r\n')
    expect(await client.response(10)).toBe('server')
    client.close()
    expectNoSecret()
  },
  TIMEOUT,
)

test(
  'a server that refuses the connection, and one that is killed',
  async () => {
    ended.push(server)
    const down = nextLine(/"server-down"/)
    await server.stop()
    await down
    const up = nextLine(/"server-up"/)
    server = await startVerboseServer({ services: [{ address: '192.0.2.1', port: ports.service }] })
    await up
    const refused = nextHandoff()
    await send(get).line(/"received"/)
    expect(await refused).toContain('"not-authorised"')
    const lost = nextHandoff()
    const client = await stopAndLock(get)
    ended.push(server)
    server.signal('SIGKILL')
    expect(await lost).toContain('"failure"')
    await client.received
    expectNoSecret()
  },
  TIMEOUT,
)

test(
  'keys of the control channel that were written into the configuration',
  async () => {
    const file = await configuration.gatewayFile()
    const pem = `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`
    editConfiguration(file, (config) => Object.assign(config.control as object, { key: pem }))
    for (const words of [['gateway'], ['doctor', 'gateway']]) {
      const run = [process.execPath, command, ...words, '-c', file] as const
      const { stdout, stderr, exitCode } = await testbed.host('gateway').run([...run], { allowFailure: true })
      expect(exitCode).toBe(1)
      expect(stdout + stderr).toContain('control.key')
      expect(partsOfSecretIn(stdout + stderr)).toEqual([])
    }
  },
  TIMEOUT,
)
