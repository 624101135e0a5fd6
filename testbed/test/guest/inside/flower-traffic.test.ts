// A live connection whose packets the redirectors hand to the NIC, and take back.
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { FlowKey, MacAddress } from '@xoffload/core'
import type { FlowerRedirector } from '@xoffload/redirect-flower'
import { runTool } from '../../../src/command.ts'
import { type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { type FlowerKind, flowerKinds } from './flower-kinds.ts'
import { addresses, buildNetwork, receivedFrames, tc } from './nic-network.ts'
import { allOf, openTransfer, startServer } from './transfer.ts'

setDefaultTimeout(120_000)

const { client, server, gateway } = addresses
/** One packet, before the rule is there and after it is gone. */
const FEW = 1000
const MANY = 2 * 1024 * 1024
/** More than the packets that begin and end a connection, and far less than those of the transfer. */
const NEXT_TO_NOTHING = 20

const resources = new AsyncDisposableStack()
let nic: VirtualNic
let port: NicPort
let redirector: FlowerRedirector | undefined
beforeAll(async () => {
  nic = resources.use(await VirtualNic.load({ nics: 1, ports: 1 }))
  port = nic.port(0)
  resources.use(await buildNetwork(port))
  for (const address of [`${gateway.ipv4}/32`, `${gateway.ipv6}/128`]) {
    await runTool(['ip', '-netns', 'server', 'address', 'add', address, 'dev', 'lo'])
  }
  // What lies underneath: it steers all packets, those that begin and end a connection too.
  const rewrite = `action pedit ex munge eth src set ${gateway.mac} munge eth dst set ${server.mac} pipe`
  const redirect = `action mirred egress redirect dev ${port.host}`
  const filter = `filter add dev ${port.host} ingress pref`
  await tc(
    `${filter} 200 protocol ip flower skip_hw ip_proto tcp dst_ip ${gateway.ipv4} dst_port 80 ${rewrite} ${redirect}`,
    `${filter} 201 protocol ipv6 flower skip_hw ip_proto tcp dst_ip ${gateway.ipv6} dst_port 80 ${rewrite} ${redirect}`,
  )
})
afterEach(async () => {
  await redirector?.close()
  redirector = undefined
})
afterAll(() => resources.disposeAsync())

async function open({ knobs, create }: FlowerKind): Promise<FlowerRedirector> {
  nic.set(knobs)
  const made = create({ device: port.host })
  await made.open()
  redirector = made
  return made
}

test.each(
  flowerKinds
    .filter(({ name }) => name !== 'flower')
    .flatMap((kind) => (['ipv4', 'ipv6'] as const).map((family) => [kind.name, family, kind] as const)),
)('%s: the packets of a live connection (%s) take the NIC alone while there is a rule', async (_, family, kind) => {
  const steered = await open(kind)
  const address = gateway[family]
  await using _server = await startServer(address, 80)
  await using live = await openTransfer(address, 80, FEW + MANY + FEW)
  live.send(FEW)
  const flow = FlowKey.of({ address: client[family], port: live.port }, { address, port: 80 })
  const bytes = async () => (await steered.counters(flow))?.bytes ?? 0n

  await steered.put({ action: 'steer', flow, target: { mode: 'l2', mac: MacAddress.parse(server.mac) } })
  const before = await receivedFrames(port.host)
  live.send(MANY)
  while ((await bytes()) < MANY) await Bun.sleep(10)
  expect((await receivedFrames(port.host)) - before).toBeLessThan(NEXT_TO_NOTHING)

  expect(await steered.remove(flow)).toBe(true)
  const { hw_packets } = await nic.counters(port)
  live.send(FEW)
  expect(await live.answer()).toBe(allOf(FEW + MANY + FEW))
  expect((await nic.counters(port)).hw_packets).toBe(hw_packets)
  expect(await receivedFrames(port.host)).toBeGreaterThan(before)
})
