// A server as the origin of a handoff: its redirector sends back to the gateway what arrives after the connection has left.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { type Endpoint, FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { freeze, restore, type Tap, takeSnapshot } from '@xoffload/linux'
import { ACK, type TcpFrame, tcpFrame, withoutVirtioHeader } from './frames.ts'
import { type Kind, kinds } from './kinds.ts'
import { frameFor, type Host, SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'
import { connect, listen, type RampSocket } from './streams.ts'

/** XO_RETURNS in bpf/tc.c. */
const RETURNS = 8

describe.each(kinds.slice(0, 2))('the %s redirector', (_kind, kind) => {
  let network: TestNetwork
  let gateway: ReturnType<Kind['create']>
  let server: ReturnType<Kind['create']>

  beforeEach(async () => {
    network = new TestNetwork(kind)
    gateway = kind.create()
    server = kind.create()
    await network.gateway.inside(() => gateway.open())
    await network.server.inside(() => server.open())
  })

  afterEach(async () => {
    await network.gateway.inside(() => gateway.close())
    await network.server.inside(() => server.close())
    network[Symbol.dispose]()
  })

  const steer = (flow: FlowKey, mac: MacAddress): Rule => ({ action: 'steer', flow, target: { mode: 'l2', mac } })
  const giveBack = (flow: FlowKey, mac: MacAddress): Rule => ({ ...steer(flow, mac), returning: true }) as Rule

  const families: [string, Endpoint, Endpoint][] = [
    ['IPv4', { address: '10.77.0.77', port: 40000 }, { address: SERVICE_IPV4, port: 81 }],
    ['IPv6', { address: 'fd77::77', port: 40000 }, { address: SERVICE_IPV6, port: 81 }],
  ]

  describe.each(families)('%s frames', (family, from, to) => {
    // Two hosts whose every frame is written and read by the test; the gateway here is the second one.
    const CLIENT = MacAddress.parse('02:00:00:00:00:11')
    const GATEWAY = MacAddress.parse('02:00:00:00:00:22')
    const flow = FlowKey.of(from, to)
    let client: Tap
    let port: Tap

    beforeEach(() => {
      client = network.addRawPort('client')
      port = network.addRawPort('gateway')
    })
    afterEach(() => {
      client.close()
      port.close()
    })

    const late = (text: string, vlans: readonly number[] = []): TcpFrame => {
      const payload = Buffer.from(text)
      return { source: GATEWAY, destination: network.server.mac, from, to, flags: ACK, payload, vlans }
    }
    const returned = (frame: TcpFrame, hopLimit?: number) =>
      withoutVirtioHeader(
        tcpFrame({ ...frame, source: network.server.mac, destination: GATEWAY, ...(hopLimit && { hopLimit }) }),
      )

    test.each([[[]], [[5]], [[5, 6]]])(
      'with VLAN tags %p go back: what was held, and what comes later',
      async (vlans) => {
        await server.put({ action: 'hold', flow })
        port.write(tcpFrame(late('one', vlans)))
        await until('it is held', () => server.statistics().heldFrames === 1)
        await server.put({ action: 'hold', flow, silent: true })
        port.write(tcpFrame(late('two', vlans)))
        await until('it is held', () => server.statistics().heldFrames === 2)

        await server.put(giveBack(flow, GATEWAY))
        port.write(tcpFrame(late('three', vlans)))
        expect(await frameFor(port, GATEWAY)).toEqual(returned(late('one', vlans)))
        expect(await frameFor(port, GATEWAY)).toEqual(returned(late('two', vlans)))
        // The hop limit and, for IPv4, the header's checksum.
        expect(await frameFor(port, GATEWAY)).toEqual(returned(late('three', vlans), RETURNS))
      },
    )

    test('are held again, without a gap, when the connection comes back', async () => {
      await server.put(giveBack(flow, GATEWAY))
      port.write(tcpFrame(late('one')))
      expect(await frameFor(port, GATEWAY)).toEqual(returned(late('one'), RETURNS))
      const resets = snmp(network.server, 'Tcp', 'OutRsts')
      await server.put({ action: 'hold', flow })
      port.write(tcpFrame(late('two')))
      await until('it is held', () => server.statistics().heldFrames === 1)
      expect(snmp(network.server, 'Tcp', 'OutRsts')).toBe(resets)
      await server.remove(flow)
      await until('the stack gets it', () => snmp(network.server, 'Tcp', 'OutRsts') === resets + 1)
    })

    test.each([
      [64, RETURNS + 1],
      [3, 3],
      [1, 1],
    ])(
      'with a hop limit of %d are seen %d times, when gateway and server steer them to each other',
      async (hopLimit, times) => {
        await gateway.put(steer(flow, network.server.mac))
        await server.put(giveBack(flow, network.gateway.mac))
        client.write(tcpFrame({ ...late('round'), source: CLIENT, destination: network.gateway.mac, hopLimit }))
        await until('the last round', () => server.statistics().droppedLoops === 1n)
        expect((await gateway.counters(flow))?.packets).toBe(BigInt(times))
        expect((await server.counters(flow))?.packets).toBe(BigInt(times))
        expect([snmp(network.gateway, 'Tcp', 'InSegs'), snmp(network.server, 'Tcp', 'InSegs')]).toEqual([0, 0])
      },
    )

    test(`keep the hop limit that they have under other rules (${family})`, async () => {
      await server.put(steer(flow, GATEWAY))
      port.write(tcpFrame(late('one')))
      expect(await frameFor(port, GATEWAY)).toEqual(returned(late('one')))
    })
  })

  describe.each([
    ['IPv4', SERVICE_IPV4],
    ['IPv6', SERVICE_IPV6],
  ])('%s connections', (family, address) => {
    let flow: FlowKey
    let client: RampSocket
    let service: RampSocket
    let stop: () => void

    /** A connection that the gateway steers to the server from its first packet on. */
    beforeEach(async () => {
      const from = family === 'IPv4' ? network.client.ipv4 : network.client.ipv6
      flow = FlowKey.of({ address: from, port: 40000 }, { address, port: 8000 })
      await gateway.put(steer(flow, network.server.mac))
      const listener = listen(network.server, address, 8000)
      stop = listener.stop
      client = await connect(network.client, flow)
      service = await listener.accepted
    })
    afterEach(() => stop())

    /** Takes the service's end out of one host's kernel and puts it into the other's. Returns the new socket. */
    function transplant(to: Host): number {
      const fd = service.suspend()
      freeze(fd)
      const snapshot = takeSnapshot(fd)
      return to.inside(() => restore(snapshot)).fd
    }

    async function toGateway(): Promise<void> {
      await server.put({ action: 'hold', flow })
      await until('packets are on the wrong host', () => server.statistics().heldFrames > 0)
      await gateway.put({ action: 'hold', flow })
      await server.put({ action: 'hold', flow, silent: true })
      const fd = transplant(network.gateway)
      await server.put(giveBack(flow, network.gateway.mac))
      await gateway.remove(flow)
      await service.moveTo(fd)
    }

    async function toServer(): Promise<void> {
      await gateway.put({ action: 'hold', flow })
      await server.put({ action: 'hold', flow })
      await gateway.put({ action: 'hold', flow, silent: true })
      const fd = transplant(network.server)
      await gateway.put(steer(flow, network.server.mac))
      await server.remove(flow)
      await service.moveTo(fd)
    }

    test('move from the server to the gateway and back again and again, under an upload', async () => {
      client.start()
      await until('it flows', () => service.received > 1_000_000)
      service.resetGaps()
      for (let round = 0; round < 20; round++) {
        for (const move of [toGateway, toServer]) {
          await move()
          const [received, answered] = [service.received, client.received]
          await until('it flows on', () => service.received > received + 100_000)
          service.send(1000)
          await until('the new host answers', () => client.received === answered + 1000)
        }
      }
      const sent = client.stop()
      await until('the upload is complete', () => service.received === sent)
      expect([client.wrong, service.wrong, client.closed, service.closed]).toEqual([0, 0, false, false])
      if (!kind.driver) expect(service.longestGap).toBeLessThan(200)
      for (const host of [network.client, network.gateway, network.server]) expect(snmp(host, 'Tcp', 'OutRsts')).toBe(0)
      for (const redirector of [gateway, server])
        expect(redirector.statistics()).toMatchObject({ heldFrames: 0, droppedHeldFrames: 0, droppedLoops: 0n })
    }, 30_000)

    test('hear nothing from the server once they are given back', async () => {
      for (const rule of [
        { action: 'hold', flow },
        { action: 'hold', flow, silent: true },
      ] as const)
        await server.put(rule)
      await gateway.put({ action: 'hold', flow })
      await server.put(giveBack(flow, network.gateway.mac))
      service.send(100)
      await until('the answer is dropped', () => server.statistics().droppedEgress > 0n)
      service.reset()
      await until('the RST is dropped', () => server.statistics().droppedEgress > 1n)
      client.send(100)
      await until('what the client says is held at the gateway', () => gateway.statistics().heldFrames > 0)
      await Bun.sleep(20)
      expect([client.received, client.closed]).toEqual([0, false])
    })
  })
})
