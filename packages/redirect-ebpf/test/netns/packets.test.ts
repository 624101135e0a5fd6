import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { type Endpoint, FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { attachTc, BpfObject, Rtnetlink, type Tap, VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import { TAP_QUEUE_LENGTH } from '../../src/hold-queue.ts'
import { ACK, FIN, RST, SYN, type TcpFrame, tcpFrame, withoutVirtioHeader } from './frames.ts'
import { type Kind, kinds } from './kinds.ts'
import { frameFor, run, SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'

// Two hosts whose every frame is written and read by the test: a client, and a target of steering.
const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')

describe.each(kinds)('the %s redirector', (_kind, kind) => {
  let network: TestNetwork
  let client: Tap
  let target: Tap
  let redirector: ReturnType<Kind['create']>

  beforeAll(() => {
    network = new TestNetwork(kind)
    client = network.addRawPort('client')
    target = network.addRawPort('target')
  })

  afterAll(() => {
    client.close()
    target.close()
    network[Symbol.dispose]()
  })

  beforeEach(async () => {
    while (target.read() !== undefined) {}
    redirector = kind.create()
    await network.gateway.inside(() => redirector.open())
  })

  afterEach(() => network.gateway.inside(() => redirector.close()))

  const families: [string, Endpoint, Endpoint][] = [
    ['IPv4', { address: '10.77.0.77', port: 40000 }, { address: SERVICE_IPV4, port: 81 }],
    ['IPv6', { address: 'fd77::77', port: 40000 }, { address: SERVICE_IPV6, port: 81 }],
  ]

  const steeredFrame = () => frameFor(target, TARGET)

  function steer(flow: FlowKey): Rule {
    return { action: 'steer', flow, target: { mode: 'l2', mac: TARGET } }
  }

  describe.each(families)('%s frames', (_name, from, to) => {
    const flow = FlowKey.of(from, to)
    const base = (): TcpFrame => ({
      source: CLIENT,
      destination: network.gateway.mac,
      from,
      to,
      payload: Buffer.from('hello'),
    })
    const steered = (frame: TcpFrame) =>
      withoutVirtioHeader(tcpFrame({ ...frame, source: network.gateway.mac, destination: TARGET }))

    test.each([[[]], [[5]], [[5, 6]]])(
      'with VLAN tags %p are steered with nothing but their MAC addresses changed',
      async (vlans) => {
        await redirector.put(steer(flow))
        const frame = { ...base(), vlans }
        client.write(tcpFrame(frame))
        expect(await steeredFrame()).toEqual(steered(frame))
        const counters = await redirector.counters(flow)
        const bytes = BigInt(tcpFrame(frame).length - VIRTIO_NET_HEADER_LENGTH)
        expect(counters).toMatchObject({ packets: 1n, bytes, egressPackets: 0n })
        expect(counters?.lastSeen).toBeGreaterThan(0n)
      },
    )

    test.each([[[]], [[5]], [[5, 6]]])(
      'with VLAN tags %p are held, and steered unchanged when the rule is replaced',
      async (vlans) => {
        await redirector.put({ action: 'hold', flow })
        const frames = ['one', 'two', 'three'].map((text) => ({ ...base(), vlans, payload: Buffer.from(text) }))
        for (const frame of frames) client.write(tcpFrame(frame))
        await until('three frames are held', () => redirector.statistics().heldFrames === 3)
        expect((await redirector.counters(flow))?.packets).toBe(3n)
        await redirector.put(steer(flow))
        for (const frame of frames) expect(await steeredFrame()).toEqual(steered(frame))
        // They were counted under the rule that saw them.
        expect((await redirector.counters(flow))?.packets).toBe(0n)
        expect(redirector.statistics()).toMatchObject({
          heldFrames: 0,
          heldBytes: 0,
          overflowedFrames: 0,
          lostFrames: 0,
        })
      },
    )

    test('without a rule reach the stack', async () => {
      const before = snmp(network.gateway, 'Tcp', 'OutRsts')
      client.write(tcpFrame(base()))
      await until('the stack answers with RST', () => snmp(network.gateway, 'Tcp', 'OutRsts') === before + 1)
    })

    test('are left alone when they are for the MAC address of another host', async () => {
      await redirector.put(steer(flow))
      client.write(tcpFrame({ ...base(), destination: MacAddress.parse('02:00:00:00:00:99') }))
      client.write(tcpFrame({ ...base(), flags: ACK | FIN }))
      // The second frame is steered, so the first, which was flooded to the gateway before it, was not.
      expect(await steeredFrame()).toEqual(steered({ ...base(), flags: ACK | FIN }))
      expect((await redirector.counters(flow))?.packets).toBe(1n)
    })

    test('of a flow that has ended: a SYN deletes the rule and reaches the stack, other frames do not', async () => {
      await redirector.put({ ...steer(flow), ended: true } as Rule)
      const before = snmp(network.gateway, 'Tcp', 'OutRsts')
      for (const flags of [ACK, FIN | ACK, SYN | ACK, RST]) {
        client.write(tcpFrame({ ...base(), flags }))
        expect(await steeredFrame()).toEqual(steered({ ...base(), flags }))
      }
      expect(snmp(network.gateway, 'Tcp', 'OutRsts')).toBe(before)
      client.write(tcpFrame({ ...base(), flags: SYN }))
      await until('the stack answers the SYN', () => snmp(network.gateway, 'Tcp', 'OutRsts') === before + 1)
      expect(await redirector.counters(flow)).toBeUndefined()
      expect(await redirector.remove(flow)).toBe(false)
    })

    test('a SYN of a flow that has not ended is steered', async () => {
      await redirector.put(steer(flow))
      client.write(tcpFrame({ ...base(), flags: SYN }))
      expect(await steeredFrame()).toEqual(steered({ ...base(), flags: SYN }))
      expect(await redirector.counters(flow)).toBeDefined()
    })
  })

  describe('IPv4 frames that a parser may get wrong', () => {
    const [, from, to] = families[0] as [string, Endpoint, Endpoint]
    const flow = FlowKey.of(from, to)
    const base = (): TcpFrame => ({ source: CLIENT, destination: network.gateway.mac, from, to })

    test.each(['hold', 'steer'])('with IP options are left alone under %s', async (action) => {
      // The ports are the bytes of the options (NOP, NOP, NOP, end): who takes the options for the TCP header finds the rule.
      const ends = { from: { ...from, port: 0x0101 }, to: { ...to, port: 0x0100 } }
      const optioned = FlowKey.of(ends.from, ends.to)
      await redirector.put(action === 'hold' ? { action, flow: optioned } : steer(optioned))
      const before = snmp(network.gateway, 'Tcp', 'InSegs')
      client.write(tcpFrame({ ...base(), ...ends, ipOptions: true }))
      await until('the stack gets it', () => snmp(network.gateway, 'Tcp', 'InSegs') === before + 1)
      expect((await redirector.counters(optioned))?.packets).toBe(0n)
    })

    test.each([
      ['first', 0x2000],
      ['middle', 0x2008],
      ['last', 0x0008],
    ])('that are the %s fragment are left alone', async (_which, fragment) => {
      await redirector.put(steer(flow))
      const before = snmp(network.gateway, 'Ip', 'ReasmReqds')
      client.write(tcpFrame({ ...base(), fragment, payload: new Uint8Array(44) }))
      await until('the stack gets it', () => snmp(network.gateway, 'Ip', 'ReasmReqds') === before + 1)
      expect((await redirector.counters(flow))?.packets).toBe(0n)
    })
  })

  describe('frames that were released, but late, when the flow is held again', () => {
    const [, from, to] = families[0] as [string, Endpoint, Endpoint]
    const flow = FlowKey.of(from, to)

    test.each([
      ['the stack takes them while its socket lives', false],
      ['they are held while it is frozen', true],
    ])('%s', async (_what, silent) => {
      const object = BpfObject.load(readFileSync(new URL('../../../../testbed/bpf/xdp.o', import.meta.url)))
      network.gateway.inside(() => {
        using rtnetlink = new Rtnetlink()
        const ifindex = rtnetlink.link('eth0')?.index ?? 0
        attachTc({ ifindex, direction: 'ingress', priority: 1, handle: 1 }, object.program('mark_released'))
      })
      object.close()
      await redirector.put({ action: 'hold', flow, silent })
      const before = snmp(network.gateway, 'Tcp', 'InSegs')
      client.write(tcpFrame({ source: CLIENT, destination: network.gateway.mac, from, to }))
      if (silent) await until('it is held', () => redirector.statistics().heldFrames === 1)
      else await until('the stack gets it', () => snmp(network.gateway, 'Tcp', 'InSegs') === before + 1)
      expect(snmp(network.gateway, 'Tcp', 'InSegs')).toBe(silent ? before : before + 1)
      run('tc', '-n', network.gateway.namespace, 'filter', 'del', 'dev', 'eth0', 'ingress', 'pref', '1')
    })
  })

  describe('the store of held frames', () => {
    const [, from, to] = families[0] as [string, Endpoint, Endpoint]

    test('is bounded: what comes on top is discarded and counted, what is stored is delivered', async () => {
      await network.gateway.inside(() => redirector.close())
      const small = kind.create({ maximumHeldBytes: 3000 })
      await network.gateway.inside(() => small.open())
      try {
        const flow = FlowKey.of(from, to)
        await small.put({ action: 'hold', flow })
        const frame = { source: CLIENT, destination: network.gateway.mac, from, to, payload: new Uint8Array(900) }
        for (let index = 0; index < 10; index++) client.write(tcpFrame(frame))
        await until('ten frames have arrived', () => small.statistics().heldIngress === 10n)
        await until('they are sorted', () => small.statistics().overflowedFrames === 7)
        expect(small.statistics()).toMatchObject({ heldFrames: 3, droppedHeldFrames: 7 })
        await small.put(steer(flow))
        for (let index = 0; index < 3; index++) await steeredFrame()
        expect(small.statistics()).toMatchObject({ heldFrames: 0, heldBytes: 0 })
      } finally {
        await network.gateway.inside(() => small.close())
      }
    })

    test('counts the frames that came faster than they were read', async () => {
      const flow = FlowKey.of(from, to)
      await redirector.put({ action: 'hold', flow })
      const frame = tcpFrame({ source: CLIENT, destination: network.gateway.mac, from, to })
      // Nothing is read meanwhile: this does not return to the event loop.
      for (let index = 0; index < TAP_QUEUE_LENGTH + 100; index++) client.write(frame)
      const sent = TAP_QUEUE_LENGTH + 100
      await until('each one is stored or counted', () => {
        const { heldIngress, heldFrames, unreadFrames } = redirector.statistics()
        return heldIngress === BigInt(sent) && heldFrames + unreadFrames === sent
      })
      const { unreadFrames, droppedHeldFrames } = redirector.statistics()
      expect(unreadFrames).toBeGreaterThan(0)
      expect(droppedHeldFrames).toBe(unreadFrames)
    })

    test('keeps the frames of a flow that stays held when another is released', async () => {
      const flows = [40001, 40002].map((port) => FlowKey.of({ ...from, port }, to))
      const frameOf = (flow: FlowKey) => ({
        source: CLIENT,
        destination: network.gateway.mac,
        from: flow.client,
        to: flow.service,
      })
      for (const flow of flows) await redirector.put({ action: 'hold', flow })
      for (const flow of [...flows, ...flows]) client.write(tcpFrame(frameOf(flow)))
      await until('four frames are held', () => redirector.statistics().heldFrames === 4)
      await redirector.put(steer(flows[0] as FlowKey))
      expect(redirector.statistics().heldFrames).toBe(2)
      await redirector.put(steer(flows[1] as FlowKey))
      expect(redirector.statistics().heldFrames).toBe(0)
      const steered = (flow: FlowKey) =>
        withoutVirtioHeader(tcpFrame({ ...frameOf(flow), source: network.gateway.mac, destination: TARGET }))
      for (const flow of flows)
        for (let count = 0; count < 2; count++) expect(await steeredFrame()).toEqual(steered(flow))
    })
  })
})
