// A device that goes from one redirector to the next while its rules are in use: restart and upgrade.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { Rtnetlink, type Tap } from '@xoffload/linux'
import { ACK, tcpFrame } from './frames.ts'
import { type Kind, kinds } from './kinds.ts'
import { run, SERVICE_IPV4, SERVICE_IPV6, snmp, TestNetwork, until } from './network.ts'
import { connect, listen } from './streams.ts'

const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')

describe.each(kinds)('the %s redirector', (_kind, kind) => {
  let network: TestNetwork
  let raw: Tap
  let current: ReturnType<Kind['create']> | undefined

  // A network for each test: the last packets of an earlier test's connection would be counted.
  beforeEach(() => {
    network = new TestNetwork(kind)
    raw = network.addRawPort('raw')
  })
  afterEach(async () => {
    await network.gateway.inside(() => current?.close())
    current = undefined
    raw.close()
    network[Symbol.dispose]()
  })

  async function open(): Promise<ReturnType<Kind['create']>> {
    current = kind.create()
    await network.gateway.inside(() => current?.open())
    return current
  }

  async function rulesOf(redirector: ReturnType<Kind['create']>): Promise<Rule[]> {
    const rules: Rule[] = []
    for await (const { rule } of redirector.list()) rules.push(rule)
    return rules
  }

  const taps = () => run('ip', '-n', network.gateway.namespace, '-o', 'link', 'show', 'type', 'tun').trim()
  const segments = () => snmp(network.gateway, 'Tcp', 'InSegs')
  const timeouts = () => snmp(network.client, 'TcpExt', 'TCPTimeouts')
  const resets = () => snmp(network.gateway, 'Tcp', 'OutRsts')

  describe.each([
    ['IPv4', SERVICE_IPV4],
    ['IPv6', SERVICE_IPV6],
  ] as const)('a stream over %s', (family, address) => {
    test('takes its rule all the time: while no process has the device, and while the next ones adopt it', async () => {
      const client = family === 'IPv4' ? network.client.ipv4 : network.client.ipv6
      const flow = FlowKey.of({ address: client, port: 40000 }, { address, port: 8000 })
      const rule: Rule = { action: 'steer', flow, target: { mode: 'l2', mac: network.server.mac } }
      let redirector = await open()
      await redirector.put(rule)
      const { accepted, stop } = listen(network.server, address, 8000)
      const sentBefore = snmp(network.client, 'Tcp', 'OutSegs')
      const resentBefore = snmp(network.client, 'Tcp', 'RetransSegs')
      const [reached, refused] = [segments(), resets()]
      const [sender, receiver] = [await connect(network.client, flow), await accepted]
      const flowsOn = async (what: string) => {
        const received = receiver.received
        await until(what, () => receiver.received > received + 500_000)
      }
      sender.start()
      await flowsOn('it flows')
      const timeoutsBefore = timeouts()
      for (let round = 0; round < 20; round++) {
        // This process is the sender too, so nothing is on its way while it opens: the flood below is for that.
        await redirector.release()
        expect(taps()).toBe('')
        await flowsOn('it flows on with nobody there')
        redirector = await open()
        await flowsOn('it flows on')
        expect(await rulesOf(redirector)).toEqual([rule])
      }
      const sent = sender.stop()
      await until('the upload is complete', () => receiver.received === sent)
      expect(receiver.wrong).toBe(0)
      // Opening takes this process longer than a gap may be, so the client's own count tells.
      expect(timeouts()).toBe(timeoutsBefore)
      // The rule has counted every packet of the client, and none of them reached the stack.
      await until('every segment is counted', async () => {
        const resent = snmp(network.client, 'Tcp', 'RetransSegs') - resentBefore
        const packets = snmp(network.client, 'Tcp', 'OutSegs') - sentBefore + resent
        return (await redirector.counters(flow))?.packets === BigInt(packets)
      })
      expect([segments(), resets()]).toEqual([reached, refused])
      stop()
    }, 30_000)
  })

  describe('frames', () => {
    const service = { address: SERVICE_IPV4, port: 81 }
    const flowOf = (port: number) => FlowKey.of({ address: '10.77.0.77', port }, service)
    const send = (port: number) =>
      raw.write(
        tcpFrame({
          source: CLIENT,
          destination: network.gateway.mac,
          from: { address: '10.77.0.77', port },
          to: service,
          flags: ACK,
        }),
      )

    test('that flood the device never reach the stack while it changes hands', async () => {
      // A target that takes what is steered; without it the switch would flood every frame.
      using target = network.addRawPort('target')
      let redirector = await open()
      await redirector.put({ action: 'steer', flow: flowOf(40000), target: { mode: 'l2', mac: TARGET } })
      const frame = tcpFrame({
        source: TARGET,
        destination: CLIENT,
        from: service,
        to: { address: '10.77.0.77', port: 1 },
      })
      // The switch learns where the target is.
      target.write(frame)
      const program = new URL('flood.ts', import.meta.url).pathname
      const hex = Buffer.from(
        tcpFrame({ source: CLIENT, destination: network.gateway.mac, from: flowOf(40000).client, to: service }),
      ).toString('hex')
      const child = Bun.spawn([process.execPath, program, `/run/netns/${network.bridge}`, 'flood', hex], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'inherit',
      })
      await child.stdout.getReader().read()
      const counted = async () => (await redirector.counters(flowOf(40000)))?.packets ?? 0n
      await until('the flood arrives', async () => (await counted()) > 0n)
      const [reached, refused, before] = [segments(), resets(), await counted()]
      for (let round = 0; round < 100; round++) {
        await redirector.release()
        redirector = await open()
        const seen = await counted()
        await until('more has come', async () => {
          while (target.read() !== undefined) {}
          return (await counted()) > seen
        })
      }
      child.stdin.end()
      await child.exited
      expect(await counted()).toBeGreaterThan(before + 1000n)
      expect([segments(), resets()]).toEqual([reached, refused])
    }, 30_000)

    test('of a held flow stay locked out, are not delivered later, and are counted', async () => {
      const first = await open()
      await first.put({ action: 'hold', flow: flowOf(40001) })
      send(40001)
      await until('it is held', () => first.statistics().heldFrames === 1)
      const refused = resets()
      await first.release()
      send(40001)
      send(40002)
      await until('the flow without a rule is answered', () => resets() === refused + 1)

      const next = await open()
      expect(await rulesOf(next)).toEqual([{ action: 'hold', flow: flowOf(40001) }])
      expect(next.statistics()).toMatchObject({ heldFrames: 0, abandonedFrames: 2, droppedHeldFrames: 2 })
      send(40001)
      await until('it is held', () => next.statistics().heldFrames === 1)
      await next.remove(flowOf(40001))
      await until('only the last one reaches the stack', () => resets() === refused + 2)
      await network.gateway.inside(() => next.close())
      expect(resets()).toBe(refused + 2)
    })

    test('a redirector that has released the device is not open, and closing it changes nothing', async () => {
      const first = await open()
      const rule: Rule = { action: 'steer', flow: flowOf(40003), target: { mode: 'l2', mac: TARGET } }
      await first.put(rule)
      await first.release()
      await expect(first.put(rule)).rejects.toMatchObject({ reason: 'gone' })
      const next = await open()
      await network.gateway.inside(() => first.close())
      await first.release()
      expect(await rulesOf(next)).toEqual([rule])
      // The same object may open again, once the other one has let go.
      await next.release()
      current = first
      await network.gateway.inside(() => first.open())
      expect(await rulesOf(first)).toEqual([rule])
      await network.gateway.inside(() => first.close())
      // The last one takes the qdisc along that the first one made.
      network.gateway.inside(() => {
        using rtnetlink = new Rtnetlink()
        expect(rtnetlink.filters(rtnetlink.link('eth0')?.index ?? 0, 'ingress')).toEqual([])
      })
      expect(run('tc', '-n', network.gateway.namespace, 'qdisc', 'show', 'dev', 'eth0')).not.toContain('clsact')
    })
  })
})
