// What is the XDP redirector's own: the program in front, its modes, and how it gets along with others.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { FlowKey, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import { queryXdp, Rtnetlink, setDeviceFeatures, type Tap, type XdpAttachment } from '@xoffload/linux'
import { TcRedirector, XdpRedirector } from '@xoffload/redirect-ebpf'
import { type TcpFrame, tcpFrame, withoutVirtioHeader } from './frames.ts'
import { frameFor, run, SERVICE_IPV4, snmp, TestNetwork, until } from './network.ts'
import { connect, listen } from './streams.ts'

const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')
const from = { address: '10.77.0.77', port: 40000 }
const to = { address: SERVICE_IPV4, port: 81 }
const flow = FlowKey.of(from, to)
const steer = (mac: MacAddress, of = flow): Rule => ({ action: 'steer', flow: of, target: { mode: 'l2', mac } })

let network: TestNetwork
let client: Tap
let target: Tap

beforeEach(() => {
  network = new TestNetwork({ driver: true })
  client = network.addRawPort('client')
  target = network.addRawPort('target')
})
afterEach(() => {
  client.close()
  target.close()
  network[Symbol.dispose]()
})

const inGateway = <Result>(task: () => Result): Result => network.gateway.inside(task)

function deviceIndex(): number {
  using rtnetlink = new Rtnetlink()
  return rtnetlink.link('eth0')?.index ?? 0
}

const attached = (): XdpAttachment | undefined => inGateway(() => queryXdp(deviceIndex()))

function frame(change: Partial<TcpFrame> = {}): TcpFrame {
  return { source: CLIENT, destination: network.gateway.mac, from, to, payload: Buffer.from('hello'), ...change }
}

const steered = (sent: TcpFrame) =>
  withoutVirtioHeader(tcpFrame({ ...sent, source: network.gateway.mac, destination: TARGET }))

/** From here on whatever XDP does not steer reaches the stack. */
function removeTcProgram(): void {
  run('tc', '-n', network.gateway.namespace, 'filter', 'del', 'dev', 'eth0', 'ingress')
}

describe.each(['driver', 'generic'] as const)('in mode %s', (mode) => {
  let redirector: XdpRedirector

  beforeEach(async () => {
    redirector = new XdpRedirector({ device: 'eth0', mode })
    await inGateway(() => redirector.open())
  })
  afterEach(() => inGateway(() => redirector.close()))

  test('plain frames of either family are steered by XDP, and counted', async () => {
    const ends = { from: { address: 'fd77::77', port: 40000 }, to: { address: 'fd77:1::1', port: 81 } }
    const frames = [frame(), frame({ vlans: [5] }), frame({ vlans: [5, 6] }), frame(ends)]
    await redirector.put(steer(TARGET))
    await redirector.put(steer(TARGET, FlowKey.of(ends.from, ends.to)))
    removeTcProgram()
    for (const sent of frames) {
      client.write(tcpFrame(sent))
      expect(await frameFor(target, TARGET)).toEqual(steered(sent))
    }
    expect((await redirector.counters(flow))?.packets).toBe(3n)
    expect(snmp(network.gateway, 'Tcp', 'InSegs')).toBe(0)
  })

  test('what it is, it says', async () => {
    expect(redirector.mode).toBe(mode)
    expect(redirector.manifest).toMatchObject({ name: 'xdp', offload: mode === 'driver' ? 'driver' : 'software' })
    expect(attached()?.mode).toBe(mode)
  })

  test('close takes the program away, and the one of somebody else stays', async () => {
    await inGateway(() => redirector.close())
    expect(attached()).toBeUndefined()
    await inGateway(() => redirector.open())
    const flag = mode === 'driver' ? 'xdpdrv' : 'xdpgeneric'
    const file = new URL('../../../../testbed/bpf/xdp.o', import.meta.url).pathname
    const ip = ['ip', '-n', network.gateway.namespace, '-force', 'link', 'set', 'dev', 'eth0', flag]
    run(...ip, 'object', file, 'program', 'pass')
    const other = attached()
    await inGateway(() => redirector.close())
    expect(attached()).toEqual(other as XdpAttachment)
    const refused = await inGateway(() => redirector.open()).catch((reason: unknown) => reason)
    expect(refused).toBeInstanceOf(RedirectorError)
    expect(refused).toMatchObject({ reason: 'busy' })
    expect(attached()).toEqual(other as XdpAttachment)
    // Nor has it left anything else behind.
    expect(run('tc', '-n', network.gateway.namespace, 'qdisc', 'show', 'dev', 'eth0')).not.toContain('clsact')
  })
})

describe('the driver', () => {
  test('steers a frame of several buffers', async () => {
    for (const [namespace, device] of [
      [network.bridge, 'client'],
      [network.bridge, 'target'],
      [network.bridge, 'g'],
      [network.gateway.namespace, 'eth0'],
      [network.bridge, 'br0'],
    ] as const)
      run('ip', '-n', namespace, 'link', 'set', device, 'mtu', '9000')
    const redirector = new XdpRedirector({ device: 'eth0', mode: 'driver' })
    await inGateway(() => redirector.open())
    await redirector.put(steer(TARGET))
    removeTcProgram()
    const sent = frame({ payload: Uint8Array.from({ length: 8000 }, (_, index) => index % 251) })
    client.write(tcpFrame(sent))
    expect(await frameFor(target, TARGET)).toEqual(steered(sent))
    expect((await redirector.counters(flow))?.bytes).toBe(8054n)
    await inGateway(() => redirector.close())
  })

  test('passes packets on whose checksum is partial: they arrive whole', async () => {
    network.client.inside(() => setDeviceFeatures(deviceIndex(), { 'tx-checksum-ip-generic': true }))
    const redirector = new XdpRedirector({ device: 'eth0', mode: 'driver' })
    await inGateway(() => redirector.open())
    const connection = FlowKey.of({ address: network.client.ipv4, port: 40000 }, { address: SERVICE_IPV4, port: 8000 })
    await redirector.put(steer(network.server.mac, connection))
    const { accepted, stop } = listen(network.server, SERVICE_IPV4, 8000)
    const sender = await connect(network.client, connection)
    const receiver = await accepted
    sender.start()
    await until('it flows', () => receiver.received > 1_000_000)
    const sent = sender.stop()
    await until('all has arrived', () => receiver.received === sent)
    expect(receiver.wrong).toBe(0)
    expect(snmp(network.server, 'Tcp', 'InCsumErrors')).toBe(0)
    stop()
    await inGateway(() => redirector.close())
  })

  test('is not taken for granted on veth, where the peer decides: auto takes generic', async () => {
    const redirector = new XdpRedirector({ device: 'eth0' })
    await inGateway(() => redirector.open())
    expect(redirector.mode).toBe('generic')
    await inGateway(() => redirector.close())
  })

  test('that has no XDP is named when it is demanded', async () => {
    run('ip', '-n', network.gateway.namespace, 'link', 'add', 'br1', 'type', 'bridge')
    const demanding = new XdpRedirector({ device: 'br1', mode: 'driver' })
    const error = await inGateway(() => demanding.open()).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ reason: 'unsupported' })
    expect(run('tc', '-n', network.gateway.namespace, 'qdisc', 'show', 'dev', 'br1')).not.toContain('clsact')
    const content = new XdpRedirector({ device: 'br1' })
    await inGateway(() => content.open())
    expect(content.mode).toBe('generic')
    await inGateway(() => content.close())
  })
})

describe('what one redirector leaves', () => {
  const rules = async (redirector: TcRedirector | XdpRedirector) => {
    const found: Rule[] = []
    for await (const { rule } of redirector.list()) found.push(rule)
    return found
  }
  const kinds = {
    tc: () => new TcRedirector({ device: 'eth0' }),
    driver: () => new XdpRedirector({ device: 'eth0', mode: 'driver' }),
    generic: () => new XdpRedirector({ device: 'eth0', mode: 'generic' }),
    auto: () => new XdpRedirector({ device: 'eth0' }),
  }

  test.each([
    ['tc', 'driver', 'driver'],
    ['driver', 'tc', undefined],
    ['generic', 'driver', 'driver'],
    ['driver', 'generic', 'generic'],
    ['driver', 'auto', 'driver'],
  ] as const)('(%s), the next one adopts (%s): then the mode is %s', async (first, second, mode) => {
    const one = kinds[first]()
    await inGateway(() => one.open())
    await one.put(steer(TARGET))
    await one.release()
    const other = kinds[second]()
    await inGateway(() => other.open())
    expect(await rules(other)).toEqual([steer(TARGET)])
    expect(attached()?.mode).toBe(mode as never)
    client.write(tcpFrame(frame()))
    expect(await frameFor(target, TARGET)).toEqual(steered(frame()))
    await inGateway(() => other.close())
    expect(attached()).toBeUndefined()
  })
})
