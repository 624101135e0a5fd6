// The redirectors on the kernel's flower and the virtual NIC: what tc shows of their rules, what they say when the card misbehaves.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { FlowKey, MacAddress, RedirectorError, type SteerRule } from '@xoffload/core'
import { tcpFrame } from '@xoffload/core/conformance'
import { Rtnetlink, setDeviceFeatures } from '@xoffload/linux'
import { AgilioRedirector } from '@xoffload/redirect-agilio'
import type { FlowerRedirector } from '@xoffload/redirect-flower'
import { CxFlowerRedirector } from '@xoffload/redirect-flower-cx'
import { runTool } from '../../../src/command.ts'
import { type NicPort, VirtualNic } from '../../../src/guest/index.ts'
import { flowerKinds } from './flower-kinds.ts'
import { type FlowerSegment, makeSegment } from './flower-segment.ts'
import { smallBufferKernel } from './small-buffer-kernel.ts'

setDefaultTimeout(120_000)

const resources = new AsyncDisposableStack()
let nic: VirtualNic
let port: NicPort
let segment: FlowerSegment
let redirector: FlowerRedirector | undefined
beforeAll(async () => {
  nic = resources.use(await VirtualNic.load({ nics: 1, ports: 1 }))
  port = nic.port(0)
  segment = resources.use(await makeSegment(port))
})
afterEach(async () => {
  nic.set({
    fail_inserts: 0,
    fail_message: '',
    insert_delay_us: 0,
    table_size: 65_536,
    activate_after_us: 0,
    refuse: '',
  })
  await redirector?.close()
  redirector = undefined
})
afterAll(() => resources.disposeAsync())

const TARGET = MacAddress.parse('02:00:00:00:00:22')

function flow(client: number, family: 4 | 6 = 4): FlowKey {
  const { clientAddresses, serviceAddresses } = segment.network
  const address = (addresses: typeof clientAddresses) => addresses[family] ?? ''
  return FlowKey.of(
    { address: address(clientAddresses), port: client },
    { address: address(serviceAddresses), port: 80 },
  )
}

function steer(client: number, more: Partial<SteerRule> = {}): SteerRule {
  return { action: 'steer', flow: flow(client), target: { mode: 'l2', mac: TARGET }, ...more }
}

/** Opens the redirector of this kind, which the test's end closes. */
async function open(kind: string, more: { readonly vlan?: number } = {}): Promise<FlowerRedirector> {
  const { knobs, create } = flowerKinds.find(({ name }) => name === kind) ?? (flowerKinds[0] as (typeof flowerKinds)[0])
  nic.set(knobs)
  const made = create({ device: port.host, ...more })
  await made.open()
  redirector = made
  return made
}

/** The error with which an operation is refused. (`expect().rejects` waits without hearing from other threads.) */
async function refusalOf(operation: Promise<unknown>): Promise<RedirectorError> {
  const outcome = await operation.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (outcome instanceof RedirectorError) return outcome
  throw new Error(`it was not refused: ${outcome}`)
}

/** What `tc` shows of the rules, without the pin. */
async function shown(): Promise<string> {
  const { stdout } = await runTool(['tc', '-s', 'filter', 'show', 'dev', port.host, 'ingress'])
  return stdout
    .split(/(?=^filter )/m)
    .filter((filter) => filter.includes(' handle 0x') && !filter.includes('src_ip 0.0.0.0'))
    .join('')
}

/** Packets of the flow arrive from the client. */
async function send(count: number, { client, service }: FlowKey): Promise<void> {
  const { network } = segment
  const frame = tcpFrame({ source: network.client, destination: network.device, from: client, to: service })
  for (let index = 0; index < count; index++) await network.send(frame)
}

describe('tc shows a rule', () => {
  test.each([
    ['flower', 'skip_hw', 'not_in_hw'],
    ['cx-flower', 'skip_sw', 'in_hw in_hw_count 1'],
    ['agilio', 'skip_sw', 'in_hw in_hw_count 1'],
  ])('of %s as it was meant', async (kind, skip, where) => {
    const opened = await open(kind)
    await opened.put(steer(1234, { handoff: { handoff: 5, epoch: 6 } }))
    const text = await shown()
    for (const part of [
      `filter protocol ip pref 100 flower chain 0 handle 0x2`,
      'eth_type ipv4',
      `dst_mac ${segment.network.device}`,
      'ip_proto tcp',
      'dst_ip 198.18.0.1',
      'src_ip 10.77.0.77',
      'dst_port 80',
      'src_port 1234',
      'tcp_flags 0x0/7',
      'ip_flags nofrag',
      skip,
      where,
      `(Egress Redirect to device ${port.host}) stolen`,
      'cookie 786f0101010000000000000500000006',
    ]) {
      expect(text).toContain(part)
    }
    expect(text.match(/key #\d/g)).toHaveLength(4)
    await opened.remove(flow(1234))
    expect(await shown()).toBe('')
  })

  test('of IPv6 and of a VLAN in the table of its protocol', async () => {
    const opened = await open('cx-flower')
    await opened.put(steer(1, { flow: flow(1, 6) }))
    expect(await shown()).toContain('filter protocol ipv6 pref 101 flower chain 0 handle 0x2')
    await opened.close()
    const tagged = await open('cx-flower', { vlan: 7 })
    await tagged.put(steer(1, { flow: flow(1, 6) }))
    const text = await shown()
    expect(text).toContain('filter protocol 802.1Q pref 102 flower chain 0 handle 0x2')
    expect(text).toContain('vlan_id 7')
    expect(text).toContain('vlan_ethtype ipv6')
  })
})

test('nothing is left on the device after close, and the qdisc of another stays', async () => {
  const qdiscs = async () => (await runTool(['tc', 'qdisc', 'show', 'dev', port.host])).stdout
  await (await open('cx-flower')).put(steer(1))
  expect(await qdiscs()).toContain('clsact')
  await redirector?.close()
  expect(await qdiscs()).not.toContain('clsact')
  await runTool(['tc', 'qdisc', 'add', 'dev', port.host, 'clsact'])
  await (await open('cx-flower')).put(steer(1))
  await redirector?.close()
  expect(await qdiscs()).toContain('clsact')
  await runTool(['tc', 'qdisc', 'del', 'dev', port.host, 'clsact'])
})

describe('counters', () => {
  test.each(['cx-flower', 'agilio', 'flower'])('of %s count packets, with their bytes and the time', async (kind) => {
    const opened = await open(kind)
    await opened.put(steer(1))
    const before = process.hrtime.bigint()
    await send(5, flow(1))
    const { network } = segment
    const frame = tcpFrame({
      source: network.client,
      destination: network.device,
      from: flow(1).client,
      to: flow(1).service,
    })
    for (;;) {
      const counters = await opened.counters(flow(1))
      if (counters?.packets !== 5n) continue
      expect(counters.bytes).toBe(BigInt(5 * frame.length))
      // The kernel counts the time in ticks of 10 milliseconds.
      expect(counters.lastSeen).toBeGreaterThan(before - 20_000_000n)
      expect(counters.lastSeen).toBeLessThanOrEqual(process.hrtime.bigint())
      return
    }
  })

  test('stand still when the card has accepted the rule and does nothing: it is not active', async () => {
    const opened = await open('agilio')
    nic.set({ activate_after_us: -1 })
    expect(await opened.put(steer(1))).toBe('accepted')
    expect(await shown()).toContain('in_hw in_hw_count 1')
    const missed = async () => (await nic.counters(port)).hw_missed_packets
    const before = await missed()
    await send(3, flow(1))
    while ((await missed()) < before + 3) await Bun.sleep(1)
    expect((await opened.counters(flow(1)))?.packets).toBe(0n)
  })
})

describe('a card that refuses', () => {
  test('because its table is full is full, and takes another rule when one was removed', async () => {
    const opened = await open('cx-flower')
    // The pin has a place too.
    nic.set({ table_size: 3 })
    await opened.put(steer(1))
    await opened.put(steer(2))
    expect((await refusalOf(opened.put(steer(3)))).reason).toBe('full')
    await opened.remove(flow(1))
    expect(await opened.put(steer(3))).toBe('accepted')
  })

  test.each([
    [95, "devices are not on same switch HW, can't offload forwarding", 'unsupported'],
    [95, "too many pedit actions, can't offload", 'unsupported'],
    [16, '', 'busy'],
    [121, 'bad parameter(0x3), syndrome (0x65c1fb)', 'unsupported'],
  ] as const)('with errno %i and "%s" is %s', async (fail_errno, fail_message, reason) => {
    const opened = await open('cx-flower')
    nic.set({ fail_inserts: 1, fail_errno, fail_message: fail_message || '\n' })
    const refused = await refusalOf(opened.put(steer(1)))
    expect(refused).toMatchObject({ reason, message: expect.stringContaining(fail_message) })
    expect(await opened.put(steer(1))).toBe('accepted')
  })

  test('such rules at all is refused when it is opened, and left as it was', async () => {
    nic.set({ driver: 'mlx5_core', firmware: '28.39.1002', refuse: 'redirect' })
    const made = new CxFlowerRedirector({ device: port.host })
    expect((await refusalOf(made.open())).reason).toBe('unsupported')
    expect((await runTool(['tc', 'qdisc', 'show', 'dev', port.host])).stdout).not.toContain('clsact')
  })

  test('tc filters, because hw-tc-offload is off', async () => {
    nic.set({ driver: 'nfp', firmware: '0.0.5.5 0.31 flo-2.0 flower' })
    using rtnetlink = new Rtnetlink()
    const ifindex = rtnetlink.link(port.host)?.index ?? 0
    setDeviceFeatures(ifindex, { 'hw-tc-offload': false })
    const made = new AgilioRedirector({ device: port.host })
    const { message } = await refusalOf(made.open())
    setDeviceFeatures(ifindex, { 'hw-tc-offload': true })
    expect(message).toContain(`ethtool -K ${port.host} hw-tc-offload on`)
  })
})

test('the event loop goes on while the card works on a rule', async () => {
  const opened = await open('cx-flower')
  nic.set({ insert_delay_us: 500_000 })
  let turns = 0
  let done = false
  const put = opened.put(steer(1)).then(() => {
    done = true
  })
  while (!done) {
    await Bun.sleep(1)
    turns += 1
  }
  await put
  // A blocked event loop would have made one.
  expect(turns).toBeGreaterThan(5)
})

test('answers that overflow the receive buffer are looked up: each rule that is there is said to be there', async () => {
  // It gets more requests at a time than a ConnectX, since it is faster.
  const { knobs, create } = flowerKinds[2] as (typeof flowerKinds)[2]
  nic.set(knobs)
  const made = create({ device: port.host, kernel: smallBufferKernel() })
  await made.open()
  redirector = made
  const clients = Array.from({ length: 300 }, (_, index) => 1000 + index)
  const outcomes = await Promise.all(clients.map((client) => made.put(steer(client))))
  expect(outcomes).toEqual(clients.map(() => 'accepted'))
  expect(made.statistics().lostAnswers).toBeGreaterThan(0)
  const listed: number[] = []
  for await (const { rule } of made.list()) listed.push(rule.flow.client.port)
  expect(listed.sort((a, b) => a - b)).toEqual(clients)
  expect(await Promise.all(clients.map((client) => made.remove(flow(client))))).toEqual(clients.map(() => true))
})

test('a device whose qdisc somebody removes is gone, and can be closed', async () => {
  const opened = await open('cx-flower')
  await opened.put(steer(1))
  await runTool(['tc', 'qdisc', 'del', 'dev', port.host, 'clsact'])
  expect((await refusalOf(opened.put(steer(2)))).reason).toBe('gone')
  // There is nothing left to give back.
  await opened.close()
})
