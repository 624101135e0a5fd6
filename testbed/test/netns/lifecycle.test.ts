/** What is left, and what clients hear, when a gateway or a server agent ends: stopped in order, killed, or misconfigured by a module. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { startGateway, startServer } from '../../src/deployment/programs.ts'
import type { RawReport } from '../../src/deployment/raw-client.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { openFiles, ruleCount } from '../../src/inspect.ts'
import { Testbed } from '../../src/testbed.ts'

const rawClient = join(import.meta.dir, '../../src/deployment/raw-client.ts')
setDefaultTimeout(30_000)

let testbed: Testbed
let configuration: Configuration
let server: HostProcess
let gateway: HostProcess

beforeEach(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server1'], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  const hosts = [testbed.host('server1')]
  configuration = await Configuration.create(testbed.host('gateway'), hosts, testbed.service)
  server = await startServer(testbed.host('server1'), configuration)
  gateway = await startGateway(testbed.host('gateway'), hosts, configuration)
})

afterEach(() => testbed.close())

/** A client whose keep-alive connection stays open after its first answer. */
async function connect(): Promise<HostProcess> {
  const request = Buffer.from('GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\n').toString('base64')
  const handedOff = gateway.line(/"handed-off"/)
  const client = testbed
    .host('client')
    .spawn([process.execPath, rawClient, testbed.service?.ipv4 ?? '', `${ports.service}`, 'read', request])
  await handedOff
  return client
}

async function rulesGone(): Promise<void> {
  const deadline = performance.now() + 5000
  while (ruleCount(testbed.host('gateway')) > 0 && performance.now() < deadline) await Bun.sleep(20)
  expect(ruleCount(testbed.host('gateway'))).toBe(0)
}

test('a server agent that is stopped closes its connections while it can still be heard, and the gateway forgets them', async () => {
  const client = await connect()
  expect(ruleCount(testbed.host('gateway'))).toBe(1)
  expect(await server.stop({ timeout: 10_000 })).toBe(0)
  const { received, error }: RawReport = JSON.parse(await client.line(/"received"/))
  expect(received).toStartWith('HTTP/1.1 200 OK')
  expect(error).toBeUndefined()
  await rulesGone()
})

test('a client that closes frees its rule', async () => {
  const client = await connect()
  client.signal('SIGKILL')
  await rulesGone()
})

test('a connection whose gateway was killed goes on, and the next gateway knows it', async () => {
  const size = 40_000_000
  const file = join(testbed.directory, 'download')
  const handedOff = gateway.line(/"handed-off"/)
  const url = `http://${testbed.service?.ipv4}/bytes/${size}`
  const download = testbed.host('client').spawn(['curl', '-sS', '--limit-rate', '20M', '-o', file, url])
  await handedOff
  gateway.signal('SIGKILL')
  await gateway.exited
  expect(ruleCount(testbed.host('gateway'))).toBe(1)
  gateway = await startGateway(testbed.host('gateway'), [testbed.host('server1')], configuration)
  expect(gateway.stdout.text).toContain('"rules-adopted"')
  expect(download.running).toBe(true)
  expect(await download.exited).toBe(0)
  const bytes = readFileSync(file)
  expect(bytes.length).toBe(size)
  expect(bytes.every((byte, index) => byte === index % 251)).toBe(true)
  await rulesGone()
})

test('a connection that ended while its gateway was down is forgotten by the next one', async () => {
  const client = await connect()
  gateway.signal('SIGKILL')
  await gateway.exited
  client.signal('SIGKILL')
  gateway = await startGateway(testbed.host('gateway'), [testbed.host('server1')], configuration)
  await rulesGone()
})

test('a selection module that throws costs the client its answer and the gateway nothing', async () => {
  await gateway.stop()
  const module = join(testbed.directory, 'select.ts')
  writeFileSync(module, 'export default () => { throw new Error("no idea") }\n')
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) => Object.assign(config, { selection: { policy: 'module', module } }))
  gateway = await startGateway(testbed.host('gateway'), [testbed.host('server1')], configuration, file)
  const before = openFiles(gateway)
  for (let request = 0; request < 3; request++) {
    const url = `http://${testbed.service?.ipv4}/bytes/5`
    const { stdout } = await testbed.host('client').run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', url])
    expect(stdout).toBe('503')
  }
  const deadline = performance.now() + 5000
  while (openFiles(gateway) !== before && performance.now() < deadline) await Bun.sleep(20)
  expect(openFiles(gateway)).toBe(before)
  expect(gateway.stdout.text).toContain('no idea')
})
