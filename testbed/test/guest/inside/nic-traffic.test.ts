// Real traffic through the rules of the virtual NIC.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { runTool } from '../../../src/command.ts'
import { type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { addresses, buildNetwork, receivedFrames, tc } from './nic-network.ts'
import { allOf, probe, startServer, transfer } from './transfer.ts'

const twentyMegabytes = 20 * 1024 * 1024
const { client, server, gateway } = addresses

let nic: VirtualNic
let port: NicPort
let network: AsyncDisposable
beforeAll(async () => {
  nic = await VirtualNic.load({ nics: 1, ports: 2 })
  port = nic.port(0)
  network = await buildNetwork(port)
})
afterEach(async () => {
  nic.set({ lose_counters: false, activate_after_us: 0 })
  await tc(`filter delete dev ${port.host} ingress`)
})
afterAll(async () => {
  await network[Symbol.asyncDispose]()
  await nic[Symbol.asyncDispose]()
})

/** Packets to the service go to the server, with its address and port; its answers go back as the service's. */
function rewriteAll(): Promise<void> {
  const flower = `filter add dev ${port.host} ingress protocol ip flower skip_sw ip_proto tcp`
  const redirect = `pipe csum ip4h tcp pipe action mirred egress redirect dev ${port.host}`
  return tc(
    `${flower} src_ip ${client.ipv4} dst_ip ${gateway.ipv4} dst_port 80 action pedit ex ` +
      `munge eth src set ${gateway.mac} munge eth dst set ${server.mac} ` +
      `munge ip src set ${gateway.ipv4} munge ip dst set ${server.ipv4} munge tcp dport set 8080 ${redirect}`,
    `${flower} src_ip ${server.ipv4} dst_ip ${gateway.ipv4} src_port 8080 action pedit ex ` +
      `munge eth src set ${gateway.mac} munge eth dst set ${client.mac} ` +
      `munge ip src set ${gateway.ipv4} munge ip dst set ${client.ipv4} munge tcp sport set 80 ${redirect}`,
  )
}

/** Packets to the service go to the server, which has the service's address itself. */
function rewriteMac(family: 'ip' | 'ipv6', extra = ''): Promise<void> {
  const address = family === 'ip' ? gateway.ipv4 : gateway.ipv6
  return tc(
    `filter add dev ${port.host} ingress protocol ${family} flower skip_sw ip_proto tcp dst_ip ${address} dst_port 80 ${extra} ` +
      `action pedit ex munge eth src set ${gateway.mac} munge eth dst set ${server.mac} pipe ` +
      `action mirred egress redirect dev ${port.host}`,
  )
}

describe('TCP to a server behind another address', () => {
  test('goes through the NIC with MAC, IP and port rewritten; 20 MB of which the host sees next to nothing', async () => {
    await rewriteAll()
    await using _ = await startServer(server.ipv4, 8080)
    const [before, counted] = [await receivedFrames(port.host), await nic.counters(port)]
    expect(await transfer(gateway.ipv4, 80, twentyMegabytes)).toBe(allOf(twentyMegabytes))
    expect((await receivedFrames(port.host)) - before).toBeLessThan(20)
    const { hw_packets, hw_bytes, hw_failed_packets } = await nic.counters(port)
    expect(hw_bytes - counted.hw_bytes).toBeGreaterThan(twentyMegabytes)
    expect(hw_packets - counted.hw_packets).toBeGreaterThan(twentyMegabytes / 1500)
    expect(hw_failed_packets).toBe(0)

    const { stdout } = await runTool(['tc', '-s', 'filter', 'show', 'dev', port.host, 'ingress'])
    expect(stdout.match(/in_hw in_hw_count 1$/gm)).toHaveLength(2)
    const sent = [...stdout.matchAll(/Sent hardware (\d+) bytes/g)].map(([, bytes]) => Number(bytes))
    expect(Math.max(...sent)).toBeGreaterThan(twentyMegabytes)
  })

  test('is not disturbed by rules that come and go, nor the kernel by a reset', async () => {
    await rewriteAll()
    await using _ = await startServer(server.ipv4, 8080)
    const rule = (action: string, index: number): string =>
      `filter ${action} dev ${port.host} ingress protocol ip prio 1 handle ${index} flower skip_sw ip_proto tcp ` +
      `src_ip ${client.ipv4} dst_ip ${gateway.ipv4} src_port ${index} dst_port 81 ` +
      `action mirred egress redirect dev ${port.host}`
    const lines = [0, 1].map((half) => Array.from({ length: 150 }, (_, index) => half * 150 + index + 1))
    const churn = async (indexes: readonly number[]): Promise<void> => {
      for (let round = 0; round < 3; round++) {
        await tc(...indexes.map((index) => rule('add', index)), ...indexes.map((index) => rule('replace', index)))
        await tc(
          ...indexes.map((index) => `filter delete dev ${port.host} ingress protocol ip prio 1 handle ${index} flower`),
        )
      }
    }
    const [answer] = await Promise.all([transfer(gateway.ipv4, 80, twentyMegabytes / 4), ...lines.map(churn)])
    expect(answer).toBe(allOf(twentyMegabytes / 4))
    // While rules are used: the kernel would complain of what is freed too early.
    const interrupted = probe(gateway.ipv4, 80)
    await Promise.all([churn(lines[0] ?? []), (async () => nic.reset())()])
    await interrupted
    const { hw_rules_inserted, hw_rules_removed } = await nic.counters(port)
    await tc(`filter delete dev ${port.host} ingress`)
    expect((await nic.counters(port)).hw_rules_removed - hw_rules_removed).toBe(2)
    expect(hw_rules_inserted).toBeGreaterThan(3 * 2 * 2 * 150)
  })
})

describe('a server that has the service address', () => {
  beforeAll(async () => {
    for (const address of [`${gateway.ipv4}/32`, `${gateway.ipv6}/128`]) {
      await runTool(['ip', '-netns', 'server', 'address', 'add', address, 'dev', 'lo'])
    }
  })

  test.each([
    ['ip', gateway.ipv4],
    ['ipv6', gateway.ipv6],
  ] as const)('gets the packets by MAC address alone (%s)', async (family, address) => {
    await rewriteMac(family)
    await using _ = await startServer(address, 80)
    const before = await receivedFrames(port.host)
    expect(await transfer(address, 80, 100_000)).toBe(allOf(100_000))
    expect((await receivedFrames(port.host)) - before).toBeLessThan(5)
  })

  test('gets nothing that the rule excludes: SYN, FIN and RST go to the host', async () => {
    await rewriteMac('ip', 'tcp_flags 0x0/0x7')
    await using _ = await startServer(gateway.ipv4, 80)
    const before = await nic.counters(port)
    // The gateway itself has no such server.
    expect(await probe(gateway.ipv4, 80)).toBe('refused')
    const after = await nic.counters(port)
    expect(after.hw_packets).toBe(before.hw_packets)
    expect(after.hw_missed_packets).toBeGreaterThan(before.hw_missed_packets)
  })

  test('gets nothing while an accepted rule is not active', async () => {
    nic.set({ activate_after_us: -1 })
    await rewriteMac('ip')
    const { stdout } = await runTool(['tc', 'filter', 'show', 'dev', port.host, 'ingress'])
    expect(stdout).toContain('in_hw in_hw_count 1')
    await using _ = await startServer(gateway.ipv4, 80)
    expect(await probe(gateway.ipv4, 80)).toBe('refused')
    const counters = await runTool(['tc', '-s', 'filter', 'show', 'dev', port.host, 'ingress'])
    expect(counters.stdout).not.toContain('Sent hardware')
  })

  test('gets packets once the rule has become active', async () => {
    nic.set({ activate_after_us: 3_000_000 })
    await rewriteMac('ip')
    await using _ = await startServer(gateway.ipv4, 80)
    const deadline = performance.now() + 60_000
    while ((await probe(gateway.ipv4, 80)) !== 'accepted') expect(performance.now()).toBeLessThan(deadline)
  })

  test('gets nothing any more when the card was reset; the kernel still believes in the rule', async () => {
    await rewriteMac('ip')
    await using _ = await startServer(gateway.ipv4, 80)
    expect(await probe(gateway.ipv4, 80)).toBe('accepted')
    nic.reset()
    expect(await probe(gateway.ipv4, 80)).toBe('refused')
    const { stdout } = await runTool(['tc', 'filter', 'show', 'dev', port.host, 'ingress'])
    expect(stdout).toContain('in_hw in_hw_count 1')
  })

  test('gets packets although the counters are lost', async () => {
    nic.set({ lose_counters: true })
    await rewriteMac('ip')
    await using _ = await startServer(gateway.ipv4, 80)
    expect(await transfer(gateway.ipv4, 80, 1000)).toBe(allOf(1000))
    const { stdout } = await runTool(['tc', '-s', 'filter', 'show', 'dev', port.host, 'ingress'])
    expect(stdout).not.toContain('Sent hardware')
  })
})

test('a tunnel takes packets to a server, with VXLAN headers that the card adds', async () => {
  const link = ['link', 'add', 'vxlan0', 'type', 'vxlan', 'dstport', '4789']
  await runTool(['ip', ...link, 'external'])
  await runTool(['ip', 'link', 'set', 'vxlan0', 'up'])
  // The server has the service address itself, and believes no packet that comes from it.
  await runTool(['ip', 'address', 'add', '10.7.0.99/32', 'dev', port.host])
  await runTool(['ip', '-netns', 'server', ...link, 'id', '42', 'local', server.ipv4])
  await runTool(['ip', '-netns', 'server', 'link', 'set', 'vxlan0', 'address', '02:00:00:00:00:42', 'up'])
  try {
    await tc(
      `filter add dev ${port.host} ingress protocol ip flower skip_sw ip_proto tcp dst_ip ${gateway.ipv4} dst_port 80 ` +
        'action pedit ex munge eth dst set 02:00:00:00:00:42 pipe ' +
        `action tunnel_key set src_ip 10.7.0.99 dst_ip ${server.ipv4} id 42 dst_port 4789 pipe ` +
        'action mirred egress redirect dev vxlan0',
    )
    await using _ = await startServer(gateway.ipv4, 80)
    const before = await receivedFrames(port.host)
    expect(await transfer(gateway.ipv4, 80, 1000)).toBe(allOf(1000))
    expect((await receivedFrames(port.host)) - before).toBeLessThan(5)
    const { stdout } = await runTool(['ip', '-netns', 'server', '-json', '-statistics', 'link', 'show', 'vxlan0'])
    expect(JSON.parse(stdout)[0].stats64.rx.packets).toBeGreaterThan(1)
  } finally {
    await tc(`filter delete dev ${port.host} ingress`)
    await runTool(['ip', 'link', 'delete', 'vxlan0'])
  }
})

test('without csum packets are wrong, as they would be on a wire', async () => {
  await tc(
    `filter add dev ${port.host} ingress protocol ip flower skip_sw ip_proto tcp dst_ip ${gateway.ipv4} dst_port 80 ` +
      `action pedit ex munge eth dst set ${server.mac} munge ip dst set ${server.ipv4} pipe ` +
      `action mirred egress redirect dev ${port.host}`,
  )
  await using _ = await startServer(server.ipv4, 80)
  const before = (await nic.counters(port)).hw_packets
  expect(await probe(gateway.ipv4, 80, 3_000)).toBe('no answer')
  expect((await nic.counters(port)).hw_packets).toBeGreaterThan(before)
})
