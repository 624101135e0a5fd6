// Steering to a server behind a tunnel: what is on the wire, byte by byte; what becomes of packets that are too big; and connections
// through a VXLAN device of the kernel.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { type Endpoint, FlowKey, MacAddress, type Rule, type SteerTarget } from '@xoffload/core'
import {
  ipAddressBytes,
  Rtnetlink,
  setDeviceFeatures,
  type Tap,
  TunnelDevice,
  VIRTIO_NET_HEADER_LENGTH,
} from '@xoffload/linux'
import { type TcpFrame, tcpFrame, withoutVirtioHeader } from './frames.ts'
import { type Kind, kinds } from './kinds.ts'
import { frameFor, run, SERVICE_IPV4, SERVICE_IPV6, TestNetwork, until, virtioFrameFor } from './network.ts'
import { connect, listen } from './streams.ts'

const CLIENT = MacAddress.parse('02:00:00:00:00:11')
/** The router on the way to the tunnel's other end, and the device there. */
const NEXT_HOP = MacAddress.parse('02:00:00:00:00:22')
const INNER = MacAddress.parse('02:00:00:00:00:33')
const IDENTIFIER = 0xabcdef
const PORT = 4789
const [IPIP, UDP, IPV6_IN_IP] = [4, 17, 41]

const clients: readonly [string, Endpoint, Endpoint][] = [
  ['IPv4', { address: '10.77.0.77', port: 40000 }, { address: SERVICE_IPV4, port: 81 }],
  ['IPv6', { address: 'fd77::77', port: 40000 }, { address: SERVICE_IPV6, port: 81 }],
]
/** In another subnet, reached through a router. */
const remotes = [
  ['IPv4', '192.0.2.9', '10.77.0.99'],
  ['IPv6', '2001:db8::9', 'fd77::99'],
] as const

describe.each(kinds.slice(0, 2))('the %s redirector', (_kind, kind) => {
  let network: TestNetwork
  let client: Tap
  let router: Tap
  let redirector: ReturnType<Kind['create']>

  beforeEach(async () => {
    network = new TestNetwork(kind)
    client = network.addRawPort('client')
    router = network.addRawPort('router')
    const { namespace } = network.gateway
    for (const [, remote, hop] of remotes) {
      run('ip', '-n', namespace, 'route', 'add', remote, 'via', hop, 'dev', 'eth0')
      run('ip', '-n', namespace, 'neigh', 'add', hop, 'lladdr', NEXT_HOP.toString(), 'dev', 'eth0')
    }
    redirector = kind.create()
    await network.gateway.inside(() => redirector.open())
  })
  afterEach(async () => {
    await network.gateway.inside(() => redirector.close())
    client.close()
    router.close()
    network[Symbol.dispose]()
  })

  const steer = (flow: FlowKey, target: SteerTarget): Rule => ({ action: 'steer', flow, target })
  const vxlan = (remote: string): SteerTarget => ({
    mode: 'vxlan',
    remote,
    identifier: IDENTIFIER,
    port: PORT,
    mac: INNER,
  })

  describe.each(clients)('%s packets', (family, from, to) => {
    const flow = FlowKey.of(from, to)
    const frame = (change: Partial<TcpFrame> = {}): TcpFrame => {
      return { source: CLIENT, destination: network.gateway.mac, from, to, payload: Buffer.from('hello'), ...change }
    }
    /** The IP packet of a frame without tags. */
    const packetOf = (sent: TcpFrame) => withoutVirtioHeader(tcpFrame({ ...sent, vlans: [] })).subarray(14)

    describe.each([...remotes])('to an %s address', (outer, remote, _hop) => {
      const source = () => (outer === 'IPv4' ? network.gateway.ipv4 : network.gateway.ipv6)

      test.each([[[]], [[5]], [[5, 6]]])('with VLAN tags %p go as IP in IP, without the tags', async (vlans) => {
        await redirector.put(steer(flow, { mode: 'ipip', remote }))
        client.write(tcpFrame(frame({ vlans })))
        const sent = await frameFor(router, NEXT_HOP)
        expect(MacAddress.from(sent.subarray(6, 12)).equals(network.gateway.mac)).toBe(true)
        const { protocol, payload } = unwrap(sent, source(), remote)
        expect(protocol).toBe(family === 'IPv4' ? IPIP : IPV6_IN_IP)
        expect(payload).toEqual(packetOf(frame()))
        expect((await redirector.counters(flow))?.packets).toBe(1n)
      })

      test('go as VXLAN, with no checksum and a port of the flow', async () => {
        await redirector.put(steer(flow, vxlan(remote)))
        client.write(tcpFrame(frame()))
        const { protocol, payload } = unwrap(await frameFor(router, NEXT_HOP), source(), remote)
        expect(protocol).toBe(UDP)
        expectVxlan(payload, frame())
      })

      test.each(['ipip', 'vxlan'] as const)('that were held follow through %s', async (mode) => {
        const target: SteerTarget = mode === 'ipip' ? { mode, remote } : vxlan(remote)
        await redirector.put({ action: 'hold', flow })
        const frames = ['one', 'two', 'three'].map((text) => frame({ payload: Buffer.from(text) }))
        for (const each of frames) client.write(tcpFrame(each))
        await until('three frames are held', () => redirector.statistics().heldFrames === 3)
        await redirector.put(steer(flow, target))
        for (const each of frames) {
          const { payload } = unwrap(await frameFor(router, NEXT_HOP), source(), remote)
          if (mode === 'ipip') expect(payload).toEqual(packetOf(each))
          else expectVxlan(payload, each)
        }
        expect(redirector.statistics()).toMatchObject({ droppedTunnel: 0n, droppedHeldFrames: 0 })
      })
    })

    const headers = family === 'IPv4' ? 40 : 60

    test('that fit go, and those that are too big are answered with what fits, in the name of the service', async () => {
      await redirector.put(steer(flow, { mode: 'ipip', remote: '192.0.2.9' }))
      const fits = frame({ payload: new Uint8Array(1480 - headers) })
      client.write(tcpFrame(fits))
      const sent = unwrap(await frameFor(router, NEXT_HOP), network.gateway.ipv4, '192.0.2.9')
      expect(sent.payload).toEqual(packetOf(fits))
      const large = frame({ payload: new Uint8Array(1481 - headers) })
      client.write(tcpFrame(large))
      expectTooBig(await frameFor(client, CLIENT), packetOf(large))
      expect(redirector.statistics().tooBig).toBe(1n)
    })

    test('that are too big are answered rightly when their checksum is partial', async () => {
      await redirector.put(steer(flow, { mode: 'ipip', remote: '192.0.2.9' }))
      client.write(withPartialChecksum(frame({ payload: new Uint8Array(1481 - headers) })))
      const answer = await virtioFrameFor(client, CLIENT)
      fillChecksum(answer)
      expectTooBig(withoutVirtioHeader(answer), undefined)
      expect(redirector.statistics().tooBig).toBe(1n)
    })

    function expectTooBig(answer: Uint8Array, quoted: Uint8Array | undefined): void {
      const { protocol, payload } = unwrap(answer, to.address, from.address)
      expect(protocol).toBe(family === 'IPv4' ? 1 : 58)
      expect([...payload.subarray(0, 2)]).toEqual(family === 'IPv4' ? [3, 4] : [2, 0])
      expect(new DataView(payload.buffer, payload.byteOffset).getUint32(4)).toBe(1480)
      if (quoted !== undefined) expect(payload.subarray(8)).toEqual(quoted.subarray(0, headers))
      const pseudo = family === 'IPv4' ? [] : [...answer.subarray(22, 54), 0, 0, 0, payload.length, 0, 0, 0, 58]
      expect(onesComplementSum([...pseudo, ...payload])).toBe(0xffff)
    }

    function expectVxlan(datagram: Uint8Array, sent: TcpFrame): void {
      const view = new DataView(datagram.buffer, datagram.byteOffset)
      expect(view.getUint16(0)).toBeGreaterThanOrEqual(0xc000)
      expect([view.getUint16(2), view.getUint16(4), view.getUint16(6)]).toEqual([PORT, datagram.length, 0])
      expect([view.getUint32(8), view.getUint32(12)]).toEqual([0x08000000, IDENTIFIER * 256])
      const inner = { ...sent, source: network.gateway.mac, destination: INNER, vlans: [] }
      expect(datagram.subarray(16)).toEqual(withoutVirtioHeader(tcpFrame(inner)))
    }
  })

  // With XDP on a veth device its peer makes no large segments: then this is about those that arrive one by one.
  test('a large segment is cut into smaller ones that fit', async () => {
    const [, from, to] = clients[0] as (typeof clients)[number]
    const flow = FlowKey.of(from, to)
    await redirector.put(steer(flow, vxlan('192.0.2.9')))
    const size = kind.driver ? 1400 : 1460
    const payload = Uint8Array.from({ length: 4 * size }, (_, index) => index % 251)
    client.write(largeSegment({ source: CLIENT, destination: network.gateway.mac, from, to, payload }, size))
    const received: number[] = []
    while (received.length < payload.length) {
      const { payload: datagram } = unwrap(await frameFor(router, NEXT_HOP), network.gateway.ipv4, '192.0.2.9')
      expect(datagram.length).toBeLessThanOrEqual(1480)
      // Behind UDP, VXLAN and Ethernet.
      const inner = datagram.subarray(30)
      expect(onesComplementSum([...inner.subarray(0, 20)])).toBe(0xffff)
      const tcp = inner.subarray(20)
      // Left to the device, as a TAP takes it: the sum of the pseudo header of this very segment.
      const pseudo = [...inner.subarray(12, 20), 0, 6, tcp.length >> 8, tcp.length & 0xff]
      expect(((tcp[16] ?? 0) << 8) | (tcp[17] ?? 0)).toBe(onesComplementSum(pseudo))
      received.push(...tcp.subarray(20))
    }
    expect(Uint8Array.from(received)).toEqual(payload)
    expect((await redirector.counters(flow))?.packets).toBe(4n)
    expect(redirector.statistics()).toMatchObject({ tooBig: 0n, droppedTunnel: 0n })
  })

  test('a target without a route: its packets are dropped, and counted; with one, they go', async () => {
    const [, from, to] = clients[0] as (typeof clients)[number]
    const flow = FlowKey.of(from, to)
    const remote = '203.0.113.9'
    run('ip', '-n', network.gateway.namespace, 'route', 'add', 'unreachable', remote)
    await redirector.put(steer(flow, { mode: 'ipip', remote }))
    const sent = tcpFrame({ source: CLIENT, destination: network.gateway.mac, from, to })
    client.write(sent)
    await until('it is dropped', () => redirector.statistics().droppedTunnel === 1n)
    run('ip', '-n', network.gateway.namespace, 'route', 'replace', remote, 'via', '10.77.0.99', 'dev', 'eth0')
    await redirector.put(steer(flow, { mode: 'ipip', remote }))
    client.write(sent)
    expect(unwrap(await frameFor(router, NEXT_HOP), network.gateway.ipv4, remote).protocol).toBe(IPIP)
  })
})

/** The payload of an outer IP packet whose header is checked. */
function unwrap(frame: Uint8Array, source: string, remote: string) {
  const packet = frame.subarray(14)
  const view = new DataView(packet.buffer, packet.byteOffset)
  const addresses = [...ipAddressBytes(source), ...ipAddressBytes(remote)]
  if (addresses.length === 8) {
    expect(view.getUint16(2)).toBe(packet.length)
    expect(onesComplementSum([...packet.subarray(0, 20)])).toBe(0xffff)
    expect([...packet.subarray(12, 20)]).toEqual(addresses)
    return { protocol: packet[9], payload: packet.subarray(20) }
  }
  expect(view.getUint16(4)).toBe(packet.length - 40)
  expect([...packet.subarray(8, 40)]).toEqual(addresses)
  return { protocol: packet[6], payload: packet.subarray(40) }
}

/** `struct virtio_net_hdr` (include/uapi/linux/virtio_net.h). */
const NEEDS_CHECKSUM = 1
const TCP_IPV4 = 1
const TCP_CHECKSUM = 16

/** A segment as a NIC with checksum offload takes it: the field has the sum of the pseudo header. */
function withPartialChecksum(frame: TcpFrame): Uint8Array {
  const bytes = tcpFrame(frame)
  const view = new DataView(bytes.buffer)
  const ip = VIRTIO_NET_HEADER_LENGTH + 14
  const tcp = ip + (frame.from.address.includes(':') ? 40 : 20)
  bytes[0] = NEEDS_CHECKSUM
  view.setUint16(6, tcp - VIRTIO_NET_HEADER_LENGTH, true)
  view.setUint16(8, TCP_CHECKSUM, true)
  const length = bytes.length - tcp
  const addresses = bytes.subarray(ip + (tcp - ip === 20 ? 12 : 8), tcp)
  view.setUint16(tcp + TCP_CHECKSUM, onesComplementSum([...addresses, 0, 6, length >> 8, length & 0xff]))
  return bytes
}

/** What a NIC does with such a frame. */
function fillChecksum(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  if ((view.getUint8(0) & NEEDS_CHECKSUM) === 0) return
  const start = VIRTIO_NET_HEADER_LENGTH + view.getUint16(6, true)
  view.setUint16(start + view.getUint16(8, true), ~onesComplementSum([...bytes.subarray(start)]))
}

/** An IPv4 segment that stands for several, as a NIC with TSO takes it. */
function largeSegment(frame: TcpFrame, size: number): Uint8Array {
  const bytes = withPartialChecksum(frame)
  const view = new DataView(bytes.buffer)
  bytes[1] = TCP_IPV4
  // The headers' length: Ethernet, IPv4, TCP.
  view.setUint16(2, 54, true)
  view.setUint16(4, size, true)
  return bytes
}

function onesComplementSum(bytes: readonly number[]): number {
  let sum = 0
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}

describe.each(kinds.slice(0, 2))('connections that the %s redirector sends to a VXLAN device', (_kind, kind) => {
  let network: TestNetwork
  let redirector: ReturnType<Kind['create']>
  let target: MacAddress

  beforeEach(async () => {
    network = new TestNetwork(kind)
    redirector = kind.create()
    await network.gateway.inside(() => redirector.open())
  })
  afterEach(async () => {
    await network.gateway.inside(() => redirector.close())
    network[Symbol.dispose]()
  })

  function addDevice(local: string): void {
    const options = { name: 'tunnel', mode: 'vxlan', local, identifier: IDENTIFIER, port: PORT } as const
    const device = network.server.inside(() => TunnelDevice.open(options))
    target = device.mac as MacAddress
    // It goes with the namespace.
    device.release()
  }

  test.each([
    ['IPv4', 'IPv4'],
    ['IPv4', 'IPv6'],
    ['IPv6', 'IPv4'],
    ['IPv6', 'IPv6'],
  ])(
    '%s over %s: both ways, through a hold, with full segments',
    async (inner, outer) => {
      const remote = outer === 'IPv4' ? network.server.ipv4 : network.server.ipv6
      addDevice(remote)
      const [address, from] =
        inner === 'IPv4' ? [SERVICE_IPV4, network.client.ipv4] : [SERVICE_IPV6, network.client.ipv6]
      const flow = FlowKey.of({ address: from, port: 40000 }, { address, port: 8000 })
      const rule: Rule = {
        action: 'steer',
        flow,
        target: { mode: 'vxlan', remote, identifier: IDENTIFIER, port: PORT, mac: target },
      }
      await redirector.put(rule)
      const { accepted, stop } = listen(network.server, address, 8000)
      const client = await connect(network.client, flow)
      const server = await accepted
      client.start()
      await until('5 MB have arrived', () => server.received > 5_000_000)
      for (let round = 0; round < 5; round++) {
        await redirector.put({ action: 'hold', flow })
        await Bun.sleep(10)
        const stalled = server.received
        await redirector.put(rule)
        await until('it flows on', () => server.received > stalled)
      }
      const sent = client.stop()
      await until('the upload is complete', () => server.received === sent)
      server.start()
      await until('5 MB have come back', () => client.received > 5_000_000)
      const answered = server.stop()
      await until('the download is complete', () => client.received === answered)
      expect([client.wrong, server.wrong, client.closed, server.closed]).toEqual([0, 0, false, false])
      expect(redirector.statistics()).toMatchObject({ droppedTunnel: 0n, droppedHeldFrames: 0 })
      const rules: Rule[] = []
      for await (const listed of redirector.list()) rules.push(listed.rule)
      expect(rules).toEqual([rule])
      stop()
    },
    20_000,
  )

  test('a client without large segments learns the path MTU', async () => {
    addDevice(network.server.ipv4)
    network.client.inside(() => {
      using rtnetlink = new Rtnetlink()
      setDeviceFeatures(rtnetlink.link('eth0')?.index ?? 0, {
        'tx-tcp-segmentation': false,
        'tx-generic-segmentation': false,
      })
    })
    const flow = FlowKey.of({ address: network.client.ipv4, port: 40000 }, { address: SERVICE_IPV4, port: 8000 })
    const { ipv4: remote } = network.server
    const through: SteerTarget = { mode: 'vxlan', remote, identifier: IDENTIFIER, port: PORT, mac: target }
    await redirector.put({ action: 'steer', flow, target: through })
    const { accepted, stop } = listen(network.server, SERVICE_IPV4, 8000)
    const client = await connect(network.client, flow)
    const server = await accepted
    client.start()
    await until('2 MB have arrived', () => server.received > 2_000_000)
    const sent = client.stop()
    await until('the upload is complete', () => server.received === sent)
    expect(server.wrong).toBe(0)
    expect(redirector.statistics().tooBig).toBeGreaterThan(0n)
    expect(run('ip', '-n', network.client.namespace, 'route', 'get', SERVICE_IPV4)).toContain('mtu 1450')
    stop()
  }, 20_000)
})
