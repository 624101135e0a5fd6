/** A server with a thousand live connections is drained, and then used again: how long that takes, and what clients see of it. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { ports } from '../../src/deployment/configuration.ts'
import { printFigure } from '../../src/figures.ts'
import type { ClientOptions, ClientReport } from '../../src/soak/client.ts'
import { MovingHosts, until } from './moving-hosts.ts'

const TIMEOUT = 120_000
const CONNECTIONS = 1000
/** How long the last download may take, in milliseconds. */
const DRAIN_TIMEOUT = 30_000
const client = join(import.meta.dir, '../../src/soak/client.ts')

let hosts: MovingHosts

beforeAll(async () => {
  hosts = await MovingHosts.start({ servers: ['server1', 'server2', 'server3'] })
}, TIMEOUT)
afterAll(() => hosts?.[Symbol.asyncDispose]())

const drain = (server: string) => hosts.order('POST', `servers/${server}/drain`)
const undrain = (server: string) => hosts.order('DELETE', `servers/${server}/drain`)
const connectionsAt = async (server: string): Promise<number> => (await hosts.connections())[server] ?? 0

test(
  '1,000 connections leave a server, downloads among them, and no client sees an error',
  () =>
    hosts.leavesNothing(async () => {
      for (const server of ['server2', 'server3']) await drain(server)
      const { ipv4, ipv6 } = hosts.addresses
      const options: ClientOptions = {
        addresses: [ipv4, ipv6],
        port: ports.service,
        connections: CONNECTIONS,
        seed: 1,
        load: 'mostly-idle',
      }
      const clients = hosts.testbed.host('client').spawn([process.execPath, client, JSON.stringify(options)])
      await until(async () => (await connectionsAt('server1')) >= CONNECTIONS)
      for (const server of ['server2', 'server3']) await undrain(server)

      let resumed = 0
      for (const { stdout } of hosts.servers) stdout.onLine((line) => void (line.includes('"resumed"') && resumed++))
      const started = performance.now()
      await drain('server1')
      let mostlyEmpty = 0
      await until(async () => {
        const left = await connectionsAt('server1')
        if (left <= CONNECTIONS / 10 && mostlyEmpty === 0) mostlyEmpty = performance.now() - started
        return left === 0
      }, DRAIN_TIMEOUT)
      const empty = performance.now() - started
      const figure = {
        bench: 'drain',
        case: 'xoffload',
        connections: CONNECTIONS,
        downloads: CONNECTIONS / 10,
        unit: 's',
      }
      printFigure({ ...figure, metric: 'nine_tenths_empty', value: mostlyEmpty / 1000 }, false)
      printFigure({ ...figure, metric: 'empty', value: empty / 1000 }, false)

      // Half of the downloads can be continued by another server, which says so when it has the time. How many of them there are yet when a
      // busy machine has opened all the connections is not for this test to say.
      await until(() => resumed > 0)

      await undrain('server1')
      await until(async () => (await connectionsAt('server1')) > 0)
      clients.signal('SIGTERM')
      const report: ClientReport = JSON.parse(await clients.line(/^\{"connections"/, { timeout: 40_000 }))
      expect(clients.stdout.lines.filter((line) => line.includes('"violation"'))).toEqual([])
      expect(report.violations).toBe(0)
    }),
  TIMEOUT,
)
