// A gateway with a virtual NIC on a switch, a client and a server: for tests inside the guest.
import { runTool } from '../../../src/command.ts'
import type { NicPort } from '../../../src/guest/index.ts'

export const addresses = {
  client: { ipv4: '10.7.0.1', ipv6: 'fd07::1', mac: '02:00:00:00:00:01' },
  server: { ipv4: '10.7.0.2', ipv6: 'fd07::2', mac: '02:00:00:00:00:02' },
  gateway: { ipv4: '10.7.0.100', ipv6: 'fd07::100', mac: '02:00:00:00:00:10' },
} as const

type Neighbour = 'client' | 'server'

/** Runs lines of `tc -batch`. Throws {@link CommandError} with what tc says. */
export async function tc(...lines: readonly string[]): Promise<void> {
  await runTool(['tc', '-batch', '-'], `${lines.join('\n')}\n`)
}

/** The gateway is this namespace, with the port's device. */
export async function buildNetwork(port: NicPort): Promise<AsyncDisposable> {
  await runTool(['ip', 'link', 'add', 'name', 'switch0', 'type', 'bridge', 'mcast_snooping', '0'])
  await setUp([], 'switch0')
  await setUp([], port.wire, 'master', 'switch0')
  for (const name of ['client', 'server'] as const) await addNeighbour(name)
  await addAddresses([], port.host, addresses.gateway)
  for (const name of ['client', 'server'] as const) await addStaticNeighbours(name, port.host)
  await tc(`qdisc add dev ${port.host} clsact`)
  return {
    async [Symbol.asyncDispose]() {
      for (const name of ['client', 'server']) await runTool(['ip', 'netns', 'delete', name])
      await runTool(['ip', 'link', 'delete', 'switch0'])
    },
  }
}

/** Without a link-local address, nobody asks for routers: a frame that is counted is one of the test's. */
async function setUp(where: readonly string[], device: string, ...settings: readonly string[]): Promise<void> {
  await runTool(['ip', ...where, 'link', 'set', device, 'addrgenmode', 'none'])
  await runTool(['ip', ...where, 'link', 'set', device, ...settings, 'up'])
}

async function addNeighbour(name: Neighbour): Promise<void> {
  await runTool(['ip', 'netns', 'add', name])
  await runTool(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name])
  await setUp([], name, 'master', 'switch0')
  await runTool(['ip', '-netns', name, 'link', 'set', 'lo', 'up'])
  await addAddresses(['-netns', name], 'eth0', addresses[name])
}

async function addAddresses(
  where: readonly string[],
  device: string,
  { ipv4, ipv6, mac }: (typeof addresses)[keyof typeof addresses],
): Promise<void> {
  await setUp(where, device, 'address', mac)
  await runTool(['ip', ...where, 'address', 'add', `${ipv4}/24`, 'dev', device])
  await runTool(['ip', ...where, 'address', 'add', `${ipv6}/64`, 'dev', device, 'nodad'])
}

async function addStaticNeighbours(name: Neighbour, hostDevice: string): Promise<void> {
  const { ipv4, ipv6, mac } = addresses[name]
  for (const address of [ipv4, ipv6]) {
    await runTool(['ip', 'neigh', 'add', address, 'lladdr', mac, 'dev', hostDevice])
  }
  for (const [other, { ipv4, ipv6, mac }] of Object.entries(addresses)) {
    if (other === name) continue
    for (const address of [ipv4, ipv6]) {
      await runTool(['ip', '-netns', name, 'neigh', 'add', address, 'lladdr', mac, 'dev', 'eth0'])
    }
  }
}

/** Frames that the host has received on a device of this namespace. */
export async function receivedFrames(device: string): Promise<number> {
  const { stdout } = await runTool(['ip', '-json', '-statistics', 'link', 'show', device])
  return JSON.parse(stdout)[0].stats64.rx.packets
}
