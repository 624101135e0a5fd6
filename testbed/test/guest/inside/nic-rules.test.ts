// What the virtual NIC accepts and refuses, and how its knobs change that. Without traffic.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { runTool } from '../../../src/command.ts'
import { cardKnobs, type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { tc } from './nic-network.ts'

let nic: VirtualNic
let port: NicPort
let other: NicPort
beforeAll(async () => {
  nic = await VirtualNic.load({ nics: 2, ports: 2 })
  port = nic.port(0)
  other = nic.port(1)
  await tc(`qdisc add dev ${port.host} clsact`, `qdisc add dev ${other.host} clsact`)
})
const plain = {
  driver: 'mlx5_core',
  insert_delay_us: 0,
  remove_delay_us: 0,
  table_size: 65536,
  csum_required: false,
  refuse: '',
  fail_inserts: 0,
  fail_message: '',
} as const
afterEach(async () => {
  nic.set(plain)
  await runTool(['ethtool', '--features', port.host, 'hw-tc-offload', 'on'])
  for (const { host } of [port, other]) await tc(`filter delete dev ${host} ingress`)
})
afterAll(() => nic[Symbol.asyncDispose]())

const redirect = (to: NicPort): string => `action mirred egress redirect dev ${to.host}`
const rewrite = 'action pedit ex munge eth dst set 02:00:00:00:00:02'

/** The lines of rules that match different ports, from `handle` on. */
function rules(count: number, options = 'skip_sw', action = `${rewrite} pipe ${redirect(port)}`): string[] {
  return Array.from(
    { length: count },
    (_, index) =>
      `filter add dev ${port.host} ingress protocol ip prio 1 handle ${index + 1} flower ${options} ip_proto tcp ` +
      `src_ip 10.7.0.1 dst_ip 10.7.0.100 src_port ${1024 + index} dst_port 80 ${action}`,
  )
}

async function shown(): Promise<string> {
  return (await runTool(['tc', '-s', 'filter', 'show', 'dev', port.host, 'ingress'])).stdout
}

function inHardware(text: string): number {
  return text.match(/^ {2}in_hw in_hw_count 1$/gm)?.length ?? 0
}

/** What tc says when the kernel refuses. */
async function refusal(line: string): Promise<string> {
  const { exitCode, stderr } = await runTool(['tc', ...line.split(' ')], '', true)
  expect(exitCode).toBe(2)
  return stderr
}

describe('a rule', () => {
  test('is in hardware until it is deleted', async () => {
    const before = await nic.counters(port)
    await tc(...rules(3))
    expect(inHardware(await shown())).toBe(3)
    await tc(`filter delete dev ${port.host} ingress protocol ip prio 1 handle 2 flower`)
    expect(inHardware(await shown())).toBe(2)
    const after = await nic.counters(port)
    expect(after.hw_rules_inserted - before.hw_rules_inserted).toBe(3)
    expect(after.hw_rules_removed - before.hw_rules_removed).toBe(1)
  })

  test('is replaced', async () => {
    await tc(...rules(1))
    const [line = ''] = rules(1, 'skip_sw', 'action drop')
    await tc(line.replace('filter add', 'filter replace'))
    const text = await shown()
    expect(inHardware(text)).toBe(1)
    expect(text).toContain('gact action drop')
  })

  test('may match IPv6, VLAN, MAC addresses and fragments', async () => {
    const add = `filter add dev ${port.host} ingress`
    await tc(
      `${add} protocol ipv6 prio 1 flower skip_sw ip_proto tcp src_ip fd07::1 dst_ip fd07::100 dst_port 80 ${redirect(port)}`,
      `${add} protocol 802.1q prio 2 flower skip_sw vlan_id 5 vlan_ethtype ipv4 dst_ip 10.7.0.100 ${redirect(port)}`,
      `${add} protocol ip prio 3 flower skip_sw src_mac 02:00:00:00:00:01 ip_flags nofrag dst_ip 10.7.0.100 ${redirect(port)}`,
    )
    expect(inHardware(await shown())).toBe(3)
  })

  test('may go to another port of the same NIC, not to one of another', async () => {
    const [same = ''] = rules(1, 'skip_sw', redirect(other))
    await tc(same)
    expect(inHardware(await shown())).toBe(1)
    await tc(`filter delete dev ${port.host} ingress`)
    const [foreign = ''] = rules(1, 'skip_sw', redirect(nic.port(0, 1)))
    expect(await refusal(foreign)).toContain('devices are not on same switch HW')
  })

  test('is left to software when hardware refuses it, unless it must not be', async () => {
    nic.set({ refuse: 'ports' })
    await tc(...rules(1, ''))
    expect(await shown()).toContain('not_in_hw')
    expect(await refusal(rules(2)[1] ?? '')).toContain('mlx5_core: Unsupported key')
  })
})

describe('the knobs', () => {
  test.each([
    ['tcp_flags', 'tcp_flags 0x0/0x7', rewrite, 'Unsupported key'],
    ['ipv4', '', rewrite, 'Unsupported key'],
    ['pedit_eth', '', rewrite, 'The pedit offload action is not supported'],
    ['pedit_ip', '', 'action pedit ex munge ip dst set 10.7.0.2', 'The pedit offload action is not supported'],
    ['pedit_ports', '', 'action pedit ex munge tcp dport set 8080', 'The pedit offload action is not supported'],
    ['csum', '', 'action csum ip4h tcp', 'The offload action is not supported'],
    ['redirect', '', rewrite, 'The offload action is not supported'],
  ])('refuse %s', async (refuse, match, action, message) => {
    const [line = ''] = rules(1, `skip_sw ${match}`.trim(), `${action} pipe ${redirect(port)}`)
    await tc(line)
    await tc(`filter delete dev ${port.host} ingress`)
    nic.set({ refuse: `fragment,${refuse}` })
    expect(await refusal(line)).toContain(`Error: mlx5_core: ${message}.`)
    nic.set({ refuse: `${refuse}x` })
    await tc(line)
  })

  test('make the table small', async () => {
    nic.set({ table_size: 3 })
    await tc(...rules(3))
    expect(await refusal(rules(4)[3] ?? '')).toContain('Error: mlx5_core: flow table is full.')
    await tc(`filter delete dev ${port.host} ingress protocol ip prio 1 handle 2 flower`, rules(4)[3] ?? '')
    expect(inHardware(await shown())).toBe(3)
  })

  test('fail the next insertions, with the text of choice', async () => {
    nic.set({ fail_inserts: 2, fail_errno: 16, fail_message: 'mlx5_core: the firmware is busy' })
    const [line = ''] = rules(1)
    for (let times = 0; times < 2; times++) {
      expect(await refusal(line)).toContain('Error: mlx5_core: the firmware is busy.')
    }
    await tc(line)
    // tc tells of the error number when there is no text.
    nic.set({ fail_inserts: -1, fail_message: '' })
    expect(await refusal(rules(2)[1] ?? '')).toContain('RTNETLINK answers: Device or resource busy')
  })

  test('want csum, in the words of nfp', async () => {
    nic.set(cardKnobs.agilio)
    const mangle = 'action pedit ex munge ip dst set 10.7.0.2'
    const [without = ''] = rules(1, 'skip_sw', `${mangle} pipe ${redirect(port)}`)
    const reason = 'nfp: unsupported offload: set actions without updating checksums are not supported'
    expect(await refusal(without)).toContain(reason)
    await tc(...rules(1, 'skip_sw', `${mangle} pipe csum ip4h tcp pipe ${redirect(port)}`))
    expect(inHardware(await shown())).toBe(1)
  })

  test('make commands take as long as the seed measured, one after the other', async () => {
    const { insert_delay_us, remove_delay_us } = cardKnobs.connectX7
    const count = 100
    nic.set({ insert_delay_us, remove_delay_us })
    const halves = [rules(count).slice(0, count / 2), rules(count).slice(count / 2)]
    let started = performance.now()
    // The second half waits for the first: two processes, one card.
    await Promise.all(halves.map((half) => tc(...half)))
    expect(performance.now() - started).toBeGreaterThan((count * insert_delay_us) / 1000)
    started = performance.now()
    await tc(`filter delete dev ${port.host} ingress`)
    expect(performance.now() - started).toBeGreaterThan((count * remove_delay_us) / 1000)
  })

  test('lose all rules; the kernel can still remove them, and insert others', async () => {
    nic.set({ table_size: 2 })
    await tc(...rules(2))
    nic.reset()
    await tc(`filter delete dev ${port.host} ingress protocol ip prio 1 handle 1 flower`, ...rules(1))
    expect(inHardware(await shown())).toBe(2)
    await tc(rules(3)[2] ?? '')
  })
})

describe('a port says', () => {
  test('which driver and firmware it has', async () => {
    nic.set({ driver: 'nfp', firmware: '0.0.3.5 0.31 flower' })
    const { stdout } = await runTool(['ethtool', '--driver', port.host])
    nic.set({ firmware: '16.35.4030' })
    expect(stdout).toMatch(/^driver: nfp$/m)
    expect(stdout).toMatch(/^firmware-version: 0\.0\.3\.5 0\.31 flower$/m)
  })

  test('whose port it is, how its card steers, and whether it is a switch', async () => {
    const device = 'platform/xoffload_nic.0'
    expect((await runTool(['devlink', 'port', 'show', port.host])).stdout).toStartWith(`${device}/0: type eth`)
    expect((await runTool(['devlink', 'dev', 'param', 'show', device, 'name', 'flow_steering_mode'])).stdout).toContain(
      'value smfs',
    )
    expect((await runTool(['devlink', 'dev', 'info', device])).stdout).toContain('driver mlx5_core')
    expect((await runTool(['ip', '-details', 'link', 'show', port.host])).stdout).not.toContain('switchid')
    await runTool(['devlink', 'dev', 'eswitch', 'set', device, 'mode', 'switchdev'])
    expect((await runTool(['ip', '-details', 'link', 'show', port.host])).stdout).toContain('switchid')
    await runTool(['devlink', 'dev', 'eswitch', 'set', device, 'mode', 'legacy'])
  })

  test('whether it offloads', async () => {
    const features = async (): Promise<string> => (await runTool(['ethtool', '--show-features', port.host])).stdout
    expect(await features()).toMatch(/^hw-tc-offload: on$/m)
    await tc(...rules(1))
    const turn = (state: string): string[] => ['ethtool', '--features', port.host, 'hw-tc-offload', state]
    expect((await runTool(turn('off'), '', true)).exitCode).not.toBe(0)
    await tc(`filter delete dev ${port.host} ingress`)
    // The kernel remembers what was wanted, and does not try the same again.
    await runTool(turn('on'))
    await runTool(turn('off'))
    expect(await features()).toMatch(/^hw-tc-offload: off$/m)
    expect(await refusal(rules(1)[0] ?? '')).toContain('TC offload is disabled on net device')
  })
})

describe('nothing is left', () => {
  test('of a namespace with a port in it', async () => {
    await runTool(['ip', 'netns', 'add', 'holder'])
    await runTool(['ip', 'link', 'set', other.host, 'netns', 'holder'])
    await runTool(['tc', '-netns', 'holder', 'qdisc', 'add', 'dev', other.host, 'clsact'])
    await runTool([
      ...['tc', '-netns', 'holder', 'filter', 'add', 'dev', other.host, 'ingress', 'protocol', 'ip', 'flower'],
      ...['skip_sw', 'dst_ip', '10.7.0.1', 'action', 'mirred', 'egress', 'redirect', 'dev', other.host],
    ])
    await runTool(['ip', 'netns', 'delete', 'holder'])
    const deadline = performance.now() + 30_000
    while (!readdirSync('/sys/class/net').includes(other.host)) {
      if (performance.now() > deadline) throw new Error(`${other.host} did not come back`)
      await Bun.sleep(10)
    }
    const { hw_rules_inserted, hw_rules_removed } = await nic.counters(other)
    expect(hw_rules_removed).toBe(hw_rules_inserted)
    await tc(`qdisc add dev ${other.host} clsact`)
  })

  test('when the module goes with thousands of rules in hardware', async () => {
    await tc(...rules(2000))
    await nic[Symbol.asyncDispose]()
    expect(readdirSync('/sys/class/net').filter((name) => name.startsWith('xn'))).toEqual([])
    expect(readdirSync('/sys/module')).not.toContain('xoffload_nic')
    nic = await VirtualNic.load({ nics: 2, ports: 2 })
    expect(inHardware(await shown())).toBe(0)
    await tc(`qdisc add dev ${port.host} clsact`, `qdisc add dev ${other.host} clsact`)
  })
})
