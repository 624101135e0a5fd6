import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { FlowKey, MacAddress } from '@xoffload/core'
import { ACK, tcpFrame } from './frames.ts'
import { kinds } from './kinds.ts'
import { type Host, SERVICE_IPV4, snmp, TestNetwork, until } from './network.ts'

const CLIENT = MacAddress.parse('02:00:00:00:00:11')
const TARGET = MacAddress.parse('02:00:00:00:00:22')
const CAPACITY = 16
const TURNS = 4000

/** Frames that came when the queue of the TAP was full: the column of dropped transmissions (/proc/net/dev). */
function droppedByTap(host: Host): number {
  const lines = host.inside(() => readFileSync('/proc/thread-self/net/dev', 'utf8')).split('\n')
  const tap = lines.map((line) => line.trim().split(/[:\s]+/)).find(([name]) => name?.startsWith('xo'))
  return Number(tap?.[12])
}

test.each(kinds)(
  '%s: no packet reaches the stack while rules replace each other under a flood',
  async (_name, kind) => {
    using network = new TestNetwork(kind)
    // A target that takes what is steered; without it the switch would flood every frame.
    using target = network.addRawPort('target')
    // A table so small that its buckets hold several flows: an update has neighbours in its bucket.
    const redirector = kind.create({ capacity: CAPACITY })
    await network.gateway.inside(() => redirector.open())
    try {
      const service = { address: SERVICE_IPV4, port: 81 }
      const flows = Array.from({ length: CAPACITY }, (_, index) =>
        FlowKey.of({ address: '10.77.0.77', port: 40000 + index }, service),
      )
      const steer = (flow: FlowKey) => redirector.put({ action: 'steer', flow, target: { mode: 'l2', mac: TARGET } })
      for (const flow of flows) await steer(flow)
      const [flow] = flows as [FlowKey]

      const frame = tcpFrame({
        source: CLIENT,
        destination: network.gateway.mac,
        from: flow.client,
        to: service,
        flags: ACK,
      })
      const program = new URL('flood.ts', import.meta.url).pathname
      const path = `/run/netns/${network.bridge}`
      const child = Bun.spawn([process.execPath, program, path, 'flood', Buffer.from(frame).toString('hex')], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'inherit',
      })
      await child.stdout.getReader().read()
      await until('the flood arrives', async () => ((await redirector.counters(flow))?.packets ?? 0n) > 0n)

      const resets = snmp(network.gateway, 'Tcp', 'OutRsts')
      const segments = snmp(network.gateway, 'Tcp', 'InSegs')
      let seen = 0n
      for (let turn = 0; turn < TURNS; turn++) {
        if (turn % 2 === 0) await redirector.put({ action: 'hold', flow })
        else await steer(flow)
        if (turn % 64 === 0) {
          // Lets frames gather under this rule, and the TAP and the timers have their turn.
          await Bun.sleep(1)
          seen += (await redirector.counters(flow))?.packets ?? 0n
          while (target.read() !== undefined) {}
        }
      }
      child.stdin.end()
      await child.exited
      expect(seen).toBeGreaterThan(1000n)
      expect(redirector.statistics().heldIngress).toBeGreaterThan(1000n)
      expect(snmp(network.gateway, 'Tcp', 'InSegs')).toBe(segments)
      expect(snmp(network.gateway, 'Tcp', 'OutRsts')).toBe(resets)

      // What was on its way to the TAP while the rule changed has been released too.
      await steer(flow)
      await until('nothing is left behind', () => {
        const { heldIngress, releasedIngress, releasedEgress, overflowedFrames, lostFrames } = redirector.statistics()
        const gone = overflowedFrames + lostFrames + droppedByTap(network.gateway)
        return heldIngress === releasedIngress + releasedEgress + BigInt(gone)
      })
    } finally {
      await network.gateway.inside(() => redirector.close())
    }
  },
  30_000,
)
