/** A server in another subnet, behind a router: connections go there through a tunnel, and come back. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { Configuration, ports } from '../../src/deployment/configuration.ts'
import { callControlApi } from '../../src/deployment/control-api.ts'
import { editConfiguration } from '../../src/deployment/edit-configuration.ts'
import { startGateway, startServer } from '../../src/deployment/programs.ts'
import type { HostProcess } from '../../src/host-process.ts'
import { ruleCount } from '../../src/inspect.ts'
import { HttpClient } from '../../src/kill/client.ts'
import { Testbed } from '../../src/testbed.ts'
import { until } from './moving-hosts.ts'

setDefaultTimeout(60_000)

/** The subnet of server2, behind the router. */
const FAR = { router: ['10.78.0.1', 'fd79::1'], server: ['10.78.0.2', 'fd79::2'] } as const
const [FAR_ADDRESS] = FAR.server
const DEVICE = 'eth1'
const TUNNEL = 'xoffload0'
const DOWNLOAD = 300_000
const REQUESTS = 20

let testbed: Testbed
let gateway: HostProcess
let server2: HostProcess
let socket: string

/** Takes server2 off the segment, and joins it to the router instead. */
async function moveAway(): Promise<void> {
  const [router, far] = [testbed.host('router'), testbed.host('server2')]
  await router.ip(`link add far0 type veth peer name ${DEVICE} netns ${far.namespace}`, 'link set far0 up')
  await router.ip(...FAR.router.map((address, at) => `addr add ${address}/${at === 0 ? '24' : '64 nodad'} dev far0`))
  const forwarding = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'].map((name) => `echo 1 >/proc/sys/net/${name}`)
  await router.run(['/bin/sh', '-e'], { input: `${forwarding.join('\n')}\n` })
  await far.ip('link set eth0 down', `link set ${DEVICE} up`)
  await far.ip(...FAR.server.map((address, at) => `addr add ${address}/${at === 0 ? '24' : '64 nodad'} dev ${DEVICE}`))
  await far.ip(...FAR.router.map((address) => `route add default via ${address}`))
  for (const name of ['gateway', 'client']) {
    await testbed.host(name).ip(`route add 10.78.0.0/24 via ${router.ipv4}`, `route add fd79::/64 via ${router.ipv6}`)
  }
}

beforeAll(async () => {
  testbed = await Testbed.create({ hosts: ['client', 'gateway', 'router', 'server1', 'server2'], service: {} })
  await moveAway()
  const [near, far] = [testbed.host('server1'), testbed.host('server2')]
  if (testbed.service === undefined) throw new Error('no service address')
  const configuration = await Configuration.create(testbed.host('gateway'), [near, far], testbed.service)
  await startServer(near, configuration)
  const farFile = await configuration.serverFile(far)
  editConfiguration(farFile, (config) => {
    Object.assign(config, { device: DEVICE, tunnel: { mode: 'vxlan', address: FAR_ADDRESS } })
    Object.assign(config.control as object, { listen: `${FAR_ADDRESS}:${ports.control}` })
    Object.assign(config.application as object, { listen: `${FAR_ADDRESS}:${ports.application}` })
  })
  server2 = await startServer(far, configuration, farFile)
  socket = join(testbed.directory, 'api.sock')
  const file = await configuration.gatewayFile()
  editConfiguration(file, (config) => {
    const servers = config.servers as object[]
    Object.assign(servers[1] as object, {
      control: `${FAR_ADDRESS}:${ports.control}`,
      proxy: `${FAR_ADDRESS}:${ports.application}`,
      tunnel: 'vxlan',
    })
    Object.assign(config, { api: { listen: `unix:${socket}` } })
  })
  gateway = await startGateway(testbed.host('gateway'), [near, far], configuration, file)
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
    expect(await client.get(DOWNLOAD)).toMatch(/^server[12]$/)
    expect(await client.get(DOWNLOAD)).toBe('server1')
    await order('DELETE', 'servers/server2/drain')
    expect(handedOff() - before).toBeGreaterThanOrEqual(first === 'server2' ? 5 : 6)
    client.close()
    await noRules()
  },
)

test('clients are told of segments that fit into the tunnel', async () => {
  const client = await HttpClient.connect(testbed.host('client'), testbed.service?.ipv4 ?? '', ports.service)
  const { stdout } = await testbed.host('client').run(['ss', '-tinH', `sport = :${client.port}`])
  // 1500 less VXLAN over IPv6 (70), IP and TCP (40) and the timestamp option (12).
  expect(Number(/ mss:(\d+)/.exec(stdout)?.[1])).toBe(1500 - 70 - 40 - 12)
  client.close()
})

test('the agent takes its tunnel device away again', async () => {
  const links = async (): Promise<string> => (await testbed.host('server2').run(['ip', '-o', 'link'])).stdout
  expect(await links()).toContain(TUNNEL)
  expect(await server2.stop({ timeout: 10_000 })).toBe(0)
  expect(await links()).not.toContain(TUNNEL)
})
