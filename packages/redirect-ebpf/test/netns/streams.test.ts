import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { FlowKey, type Rule } from '@xoffload/core'
import { writeSysctl } from '@xoffload/linux'
import { type Kind, kinds } from './kinds.ts'
import { SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'
import { connect, listen, type RampSocket } from './streams.ts'

describe.each(kinds)('the %s redirector', (_kind, kind) => {
  let network: TestNetwork
  let redirector: ReturnType<Kind['create']>

  /** What a test has opened. */
  const stops: (() => void)[] = []

  // A network for each test: the last packets of an earlier test's connection would be counted.
  beforeEach(async () => {
    network = new TestNetwork(kind)
    redirector = kind.create()
    await network.gateway.inside(() => redirector.open())
  })

  afterEach(async () => {
    await network.gateway.inside(() => redirector.close())
    for (const stop of stops.splice(0)) stop()
    network[Symbol.dispose]()
  })

  function steer(flow: FlowKey): Rule {
    return { action: 'steer', flow, target: { mode: 'l2', mac: network.server.mac } }
  }

  async function connectTo(
    host: 'gateway' | 'server',
    flow: FlowKey,
  ): Promise<[client: RampSocket, service: RampSocket]> {
    const { accepted, stop } = listen(network[host], flow.service.address, flow.service.port)
    stops.push(stop)
    return [await connect(network.client, flow), await accepted]
  }

  describe.each([
    ['IPv4', SERVICE_IPV4],
    ['IPv6', SERVICE_IPV6],
  ])('%s connections', (family, address) => {
    let flow: FlowKey
    beforeEach(() => {
      const client = family === 'IPv4' ? network.client.ipv4 : network.client.ipv6
      flow = FlowKey.of({ address: client, port: 40000 }, { address, port: 8000 })
    })
    const retransmissions = () => snmp(network.client, 'Tcp', 'RetransSegs')

    test('are steered both ways with large segments, and every segment is counted', async () => {
      const segments = () => snmp(network.client, 'Tcp', 'OutSegs')
      const [sentBefore, retransmittedBefore] = [segments(), retransmissions()]
      // On a busy machine packets come in the wrong order. The options that tell of it would be bytes that only the redirector counts.
      network.client.inside(() => writeSysctl('ipv4/tcp_sack', 0))
      await redirector.put(steer(flow))
      const [client, server] = await connectTo('server', flow)
      client.start()
      await until('10 MB have arrived', () => server.received > 10_000_000)
      const sent = client.stop()
      await until('the upload is complete', () => server.received === sent)
      server.start()
      await until('10 MB have come back', () => client.received > 10_000_000)
      const answered = server.stop()
      await until('the download is complete', () => client.received === answered)
      expect([client.wrong, server.wrong]).toEqual([0, 0])

      // The client may say a last word, a delayed acknowledgement, between two looks.
      let [packets, resent, counters] = [0, 0, await redirector.counters(flow)]
      await until('every segment is counted', async () => {
        resent = retransmissions() - retransmittedBefore
        packets = segments() - sentBefore + resent
        counters = await redirector.counters(flow)
        return counters?.packets === BigInt(packets)
      })
      // Ethernet, IP and TCP with timestamps; the SYN has eight bytes of options more.
      const headers = 14 + (family === 'IPv4' ? 20 : 40) + 32
      const least = packets * headers + 8 + sent
      expect(Number(counters?.bytes)).toBeGreaterThanOrEqual(least)
      expect(Number(counters?.bytes)).toBeLessThanOrEqual(least + resent * 1460)
      expect(counters?.egressPackets).toBe(0n)
    })

    test('that begin under hold are delayed, not refused, and go where the rule says at last', async () => {
      await redirector.put({ action: 'hold', flow })
      const connecting = connectTo('server', flow)
      await until('the SYN is held', () => redirector.statistics().heldFrames === 1)
      const start = performance.now()
      await redirector.put(steer(flow))
      await connecting
      // A SYN that was lost would come again after a second.
      expect(performance.now() - start).toBeLessThan(100)
    })

    test('lose no byte and see no timeout when an upload is held and released again and again', async () => {
      const [client, server] = await connectTo('gateway', flow)
      client.start()
      await until('it flows', () => server.received > 1_000_000)
      server.resetGaps()
      let largest = 0
      for (let round = 0; round < 10; round++) {
        await redirector.put({ action: 'hold', flow })
        await Bun.sleep(20)
        const { heldFrames, heldBytes } = redirector.statistics()
        largest = Math.max(largest, heldBytes / Math.max(heldFrames, 1))
        expect(heldFrames).toBeGreaterThan(0)
        const stalled = server.received
        // A removal ends the silence before the stack gets what was held: its acknowledgements must get out.
        if (round % 2 === 1) await redirector.put({ action: 'hold', flow, silent: true })
        await redirector.remove(flow)
        await until('it flows on', () => server.received > stalled)
      }
      const sent = client.stop()
      await until('the upload is complete', () => server.received === sent)
      expect(server.wrong).toBe(0)
      // A retransmission timeout takes 200 ms and more.
      if (!kind.driver) expect(server.longestGap).toBeLessThan(200)
      // Large segments were held as they were. For native XDP the other end of a veth pair makes none.
      if (!kind.driver) expect(largest).toBeGreaterThan(2000)
      expect(redirector.statistics()).toMatchObject({ heldFrames: 0, overflowedFrames: 0, lostFrames: 0 })
    })

    test('are silent under hold: what this host says is delivered after it', async () => {
      const [client, server] = await connectTo('gateway', flow)
      await redirector.put({ action: 'hold', flow })
      server.send(5000)
      await until('the answer is held', () => redirector.statistics().heldEgress > 0n)
      await Bun.sleep(20)
      expect(client.received).toBe(0)
      expect((await redirector.counters(flow))?.egressPackets).toBeGreaterThan(0n)
      const start = performance.now()
      await redirector.remove(flow)
      await until('the answer arrives', () => client.received === 5000)
      expect(performance.now() - start).toBeLessThan(100)
      expect(client.wrong).toBe(0)
    })

    test('hear nothing that this host says under a silent hold, only what was held before', async () => {
      const [client, server] = await connectTo('gateway', flow)
      await redirector.put({ action: 'hold', flow })
      server.send(1000)
      await until('the answer is held', () => redirector.statistics().heldEgress > 0n)
      await redirector.put({ action: 'hold', flow, silent: true })
      server.send(1000)
      await until('the next answer is dropped', () => redirector.statistics().droppedEgress > 0n)
      await redirector.put(steer(flow))
      await until('the first answer arrives', () => client.received === 1000)
      await Bun.sleep(20)
      expect(client.received).toBe(1000)
    })

    test('never see an RST of this host under hold', async () => {
      const [client, server] = await connectTo('gateway', flow)
      await redirector.put({ action: 'hold', flow })
      server.reset()
      await until('the RST is dropped', () => redirector.statistics().droppedResets === 1n)
      await redirector.put(steer(flow))
      await redirector.put({ action: 'hold', flow })
      await Bun.sleep(20)
      expect(client.closed).toBe(false)
      await redirector.remove(flow)
      client.send(1)
      await until('without a rule the stack may answer', () => client.closed)
    })

    test('hear nothing from this host when they are steered elsewhere', async () => {
      const [client, server] = await connectTo('gateway', flow)
      await redirector.put(steer(flow))
      server.send(100)
      await until('the answer is dropped', () => redirector.statistics().droppedEgress > 0n)
      expect((await redirector.counters(flow))?.egressPackets).toBeGreaterThan(0n)
      server.reset()
      await until('the RST is dropped', () => redirector.statistics().droppedEgress > 1n)
      await Bun.sleep(20)
      expect([client.received, client.closed]).toEqual([0, false])
    })
  })
})
