/** A server in another subnet, behind a router: connections go there through a tunnel, and come back. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import type { MacAddress } from '@xoffload/core'
import { TCP, tcpFrame } from '@xoffload/core/conformance'
import { inNetworkNamespace, Rtnetlink } from '@xoffload/linux'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import {
  configureFarGateway,
  configureFarServer,
  farAddresses,
  farTunnel,
  moveAway,
} from '../../src/deployment/far-server.ts'
import { startGateway, startServer } from '../../src/deployment/programs.ts'
import type { Host } from '../../src/host.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { HttpClient } from '../../src/kill/client.ts'
import { Sniffer } from '../../src/sniffer.ts'
import { Testbed } from '../../src/testbed.ts'
import { until } from './moving-hosts.ts'

setDefaultTimeout(60_000)

const DOWNLOAD = 300_000
const REQUESTS = 20

let testbed: Testbed
let gateway: HostProcess
let server2: HostProcess
let startServer2: () => Promise<HostProcess>
let socket: string

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'router', 'server1', 'server2'], service: {} })
  const [client, front, router, near, far] = testbed.hosts as [Host, Host, Host, Host, Host]
  await moveAway({ far, router, neighbours: [client, front] })
  if (testbed.service === undefined) throw new Error('no service address')
  const configuration = await Configuration.create(front, [near, far], testbed.service)
  await startServer(near, configuration)
  const farFile = await configuration.serverFile(far)
  configureFarServer(farFile, 'vxlan')
  startServer2 = () => startServer(far, configuration, farFile)
  server2 = await startServer2()
  socket = join(testbed.directory, 'api.sock')
  const file = await configuration.gatewayFile()
  configureFarGateway(file, far.name, 'vxlan')
  editConfiguration(file, (config) => Object.assign(config, { api: { listen: `unix:${socket}` } }))
  gateway = await startGateway(front, [near, far], configuration, file)
})
afterAll(() => testbed?.close())

const order = (method: string, path: string, body?: object): Promise<unknown> =>
  callControlApi(socket, method, path, body && { body })

async function noRules(): Promise<void> {
  const counts = (): number[] => ['gateway', 'server1'].map((name) => ruleCount(testbed.host(name)))
  await until(() => counts().every((count) => count === 0), 20_000).catch(() => expect(counts()).toEqual([0, 0]))
}

const handedOff = (): number => gateway.stdout.lines.filter((line) => line.includes('"handed-off"')).length

test.each(['ipv4', 'ipv6'] as const)(
  'a connection goes through the tunnel, to the server next door, back through the tunnel, and to the gateway (%s)',
  async (family) => {
    const service = testbed.service?.[family] ?? ''
    const before = handedOff()
    const client = await HttpClient.connect(testbed.host('client'), service, ports.service)
    const [source, target] =
      family === 'ipv4' ? [testbed.host('client').ipv4, service] : [`[${testbed.host('client').ipv6}]`, `[${service}]`]
    const flow = encodeURIComponent(`${source}:${client.port}-${target}:${ports.service}`)
    const move = (server: string) => order('POST', `flows/${flow}/move`, { server, timeout: 20_000 })
    const first = await client.get(DOWNLOAD)
    if (first !== 'server2') expect(await move('server2')).toMatchObject({ result: 'handed-off' })
    expect(await client.get(DOWNLOAD)).toBe('server2')
    // Many full segments.
    const request = `GET /bytes/10 HTTP/1.1\r\nHost: x\r\nX-Padding: ${'x'.repeat(2000)}\r\n\r\n`
    client.write(request.repeat(REQUESTS))
    for (let count = 0; count < REQUESTS; count++) expect(await client.response(10)).toBe('server2')
    expect(await move('server1')).toMatchObject({ result: 'handed-off' })
    expect(await client.get(DOWNLOAD)).toBe('server1')
    expect(await move('server2')).toMatchObject({ result: 'handed-off' })
    expect(await client.get(DOWNLOAD)).toBe('server2')
    await order('POST', 'servers/server2/drain')
    // It may answer some more before it hears of that.
    await until(async () => (await client.get(DOWNLOAD)) === 'server1', 20_000)
    await order('DELETE', 'servers/server2/drain')
    // The last one is logged when its answer is here already.
    await until(() => handedOff() - before >= (first === 'server2' ? 5 : 6))
    client.close()
    await noRules()
  },
)

/** Sends a frame to server2 through its tunnel, as the gateway's redirector does. */
async function sendThroughTunnel(frame: Uint8Array): Promise<void> {
  const udp = await inNetworkNamespace(testbed.host('gateway').namespacePath, () => Bun.udpSocket({}))
  // RFC 7348: the network identifier is valid, and 1.
  const header = [0x08, 0, 0, 0, 0, 0, 1, 0]
  udp.send(Uint8Array.from([...header, ...frame]), 4789, farAddresses.ipv4)
  udp.close()
}

function tunnelMac(): MacAddress {
  return inNetworkNamespace(testbed.host('server2').namespacePath, () => {
    using rtnetlink = new Rtnetlink()
    const mac = rtnetlink.link(farTunnel)?.mac
    if (mac === undefined) throw new Error('server2 has no tunnel device')
    return mac
  })
}

test('what comes out of the tunnel when the connection has left goes after it', async () => {
  const [host, service] = [testbed.host('client'), testbed.service?.ipv4 ?? '']
  const client = await HttpClient.connect(host, service, ports.service)
  const [from, to] = [
    { address: host.ipv4, port: client.port },
    { address: service, port: ports.service },
  ]
  const flow = encodeURIComponent(`${from.address}:${from.port}-${to.address}:${to.port}`)
  const move = (server: string) => order('POST', `flows/${flow}/move`, { server, timeout: 20_000 })
  if ((await client.get(DOWNLOAD)) !== 'server2') await move('server2')
  using arrivals = new Sniffer(testbed.host('server1'))
  // Nobody else sends a FIN meanwhile. Its sequence number is none of the connection's.
  const flags = TCP.FIN | TCP.ACK
  const late = tcpFrame({ source: testbed.host('gateway').mac, destination: tunnelMac(), from, to, flags })
  const arrived = (): boolean => arrivals.segments.some(({ fin, sourcePort }) => fin && sourcePort === client.port)
  // Late packets are sent on for a second. A machine that was busy elsewhere for so long gets another try.
  for (let attempt = 0; attempt < 10 && !arrived(); attempt++) {
    if (attempt > 0) await move('server2')
    expect(await move('server1')).toMatchObject({ result: 'handed-off' })
    await sendThroughTunnel(late)
    await until(arrived, 2000).catch(() => undefined)
    expect(await client.get(DOWNLOAD)).toBe('server1')
  }
  expect(arrived()).toBe(true)
  client.close()
  await noRules()
})

test('clients are told of segments that fit into the tunnel', async () => {
  const client = await HttpClient.connect(testbed.host('client'), testbed.service?.ipv4 ?? '', ports.service)
  const { stdout } = await testbed.host('client').run(['ss', '-tinH', `sport = :${client.port}`])
  // 1500 less VXLAN over IPv6 (70), IP and TCP (40) and the timestamp option (12).
  expect(Number(/ mss:(\d+)/.exec(stdout)?.[1])).toBe(1500 - 70 - 40 - 12)
  client.close()
})

const links = async (): Promise<string> => (await testbed.host('server2').run(['ip', '-o', 'link'])).stdout

test('a second agent on the host does not start, and leaves the tunnel device of the first alone', async () => {
  await expect(startServer2()).rejects.toThrow()
  expect(await links()).toContain(farTunnel)
})

test('the agent takes its tunnel device away again', async () => {
  expect(await links()).toContain(farTunnel)
  expect(await server2.stop({ timeout: 10_000 })).toBe(0)
  expect(await links()).not.toContain(farTunnel)
})
