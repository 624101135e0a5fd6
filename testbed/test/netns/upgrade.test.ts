/** A gateway process that takes over from another one, with clients that notice nothing. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { command, startGateway, startServer } from '../../src/deployment/programs.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { wrk } from '../../src/peers/wrk.ts'
import { Testbed } from '../../src/testbed.ts'

setDefaultTimeout(60_000)

let testbed: Testbed
let gateway: HostProcess
let file: string

beforeEach(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'server1', 'server2'], service: {} })
  if (testbed.service === undefined) throw new Error('no service address')
  const hosts = [testbed.host('server1'), testbed.host('server2')]
  const configuration = await Configuration.create(testbed.host('gateway'), hosts, testbed.service)
  for (const host of hosts) await startServer(host, configuration)
  file = await configuration.gatewayFile()
  gateway = await startGateway(testbed.host('gateway'), hosts, configuration, file)
})

afterEach(() => testbed.close())

function upgrade(): Promise<{ stdout: string }> {
  return testbed.host('gateway').run([process.execPath, command, 'upgrade', '-c', file])
}

test('under load, with connections that come and go and downloads, no client sees an error', async () => {
  const origin = `http://${testbed.service?.ipv4}`
  const download = join(testbed.directory, 'download')
  const client = testbed.host('client')
  // Making a body takes a server so long that requests would time out meanwhile.
  for (const name of ['server1', 'server2']) {
    await client.run([
      'curl',
      '-sS',
      '-o',
      '/dev/null',
      `http://${testbed.host(name).ipv4}:${ports.application}/bytes/60000000`,
    ])
  }
  const long = client.spawn(['curl', '-sS', '--limit-rate', '20M', '-o', download, `${origin}/bytes/60000000`])
  const load = Promise.all([
    wrk(client, { url: `${origin}/bytes/4096`, duration: 4, connections: 16, threads: 1 }),
    wrk(client, {
      url: `${origin}/bytes/100`,
      duration: 4,
      connections: 8,
      threads: 1,
      headers: { Connection: 'close' },
    }),
  ])
  await Bun.sleep(500)
  for (let round = 0; round < 3; round++) {
    expect((await upgrade()).stdout).toMatch(/process \d+ has taken over/)
    await Bun.sleep(300)
  }
  for (const result of await load) {
    expect(result.socketErrors).toEqual({ connect: 0, read: 0, write: 0, timeout: 0 })
    expect(result.non2xx).toBe(0)
  }
  expect(await long.exited).toBe(0)
  const bytes = readFileSync(download)
  expect(bytes.length).toBe(60_000_000)
  expect(bytes.every((byte, index) => byte === index % 251)).toBe(true)
  const deadline = performance.now() + 5000
  while (ruleCount(testbed.host('gateway')) > 0 && performance.now() < deadline) await Bun.sleep(20)
  expect(ruleCount(testbed.host('gateway'))).toBe(0)
})

test('a new process that cannot begin its service leaves everything to the old one', async () => {
  const client = testbed.host('client')
  const url = `http://${testbed.service?.ipv4}/bytes/40000000`
  const download = join(testbed.directory, 'download')
  const handedOff = gateway.line(/"handed-off"/)
  const long = client.spawn(['curl', '-sS', '--limit-rate', '10M', '-o', download, url])
  await handedOff
  // An address that this host does not have: it fails when it has the device already.
  editConfiguration(file, (config) => Object.assign(config, { service: { address: '203.0.113.1', port: 80 } }))
  const resumed = gateway.line(/"event":"resumed"/)
  const { stderr } = await testbed
    .host('gateway')
    .run([process.execPath, command, 'upgrade', '-c', file], { allowFailure: true })
  expect(stderr).toContain('the new process has ended before it took over')
  await resumed
  expect(ruleCount(testbed.host('gateway'))).toBe(1)
  expect(await long.exited).toBe(0)
  expect(readFileSync(download).length).toBe(40_000_000)
  // The old one hands connections over as before.
  const again = gateway.line(/:45555>.*"handed-off"/)
  await client.run([
    'curl',
    '-sS',
    '--local-port',
    '45555',
    '-o',
    '/dev/null',
    `http://${testbed.service?.ipv4}/bytes/10`,
  ])
  await again
})

test('a second gateway on the device is refused', async () => {
  const second = testbed.host('gateway').spawn([process.execPath, command, 'gateway', '-c', file])
  expect(await second.exited).toBe(1)
  expect(second.stderr.text).toContain('a gateway process has device')
  expect(gateway.running).toBe(true)
})
