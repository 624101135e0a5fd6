import { type Redirector, RedirectorError, type Rule } from '@xoffload/core'
import { type DeviceUnderTest, readdressed, readFrame, TCP } from '@xoffload/core/conformance'
import { device } from '../../template/test/device.ts'

/** Milliseconds until a rule that was accepted is active. */
const ACTIVATION = 20
const ETHERNET_LENGTH = 14

/**
 * The example as most NICs are: it cannot hold, sees no packets of this host, leaves SYN, FIN and RST to software, and its rules become
 * active some time after they were accepted. More that NICs do: steer packets that begin and end a connection, with these TCP flags;
 * leave packets with VLAN tags to software; take packets for other hosts as their own.
 */
export function plainNic({ beginsAndEnds = 0, untaggedOnly = false, promiscuous = false } = {}): DeviceUnderTest {
  const card = device()
  const { network } = card
  if (network === undefined) throw new Error('the device has no network')
  const accepted = new Map<string, number>()
  let leftToStack = 0
  const said: Uint8Array[] = []
  const steersNow = (frame: Uint8Array) => {
    const { tcp, network: start = ETHERNET_LENGTH } = readFrame(frame) ?? {}
    if (tcp === undefined) return true
    if (untaggedOnly && start > ETHERNET_LENGTH) return false
    if ((tcp.flags & (TCP.SYN | TCP.FIN | TCP.RST) & ~beginsAndEnds) !== 0) return false
    return performance.now() > (accepted.get(tcp.flow.id) ?? 0) + ACTIVATION
  }
  return {
    ...card,
    redirector: async (request) => limited(await card.redirector(request), accepted),
    network: {
      ...network,
      send: (frame) => {
        const taken = promiscuous ? readdressed(frame, network.client, network.device) : frame
        if (steersNow(taken)) return network.send(taken)
        leftToStack += 1
      },
      emit: (frame) => void said.push(frame),
      received: async (host) => [...(await network.received(host)), ...(host === 'client' ? said.splice(0) : [])],
      stackPackets: async () => leftToStack + (await network.stackPackets()),
    },
  }
}

function limited(it: Redirector, accepted: Map<string, number>): Redirector {
  return {
    manifest: { ...it.manifest, holds: false },
    open: (options) => it.open(options),
    close: () => it.close(),
    release: () => it.release(),
    async put(rule: Rule, options) {
      if (rule.action === 'hold' || rule.ended === true || rule.returning === true) {
        options?.signal?.throwIfAborted()
        throw new RedirectorError('unsupported', 'the card only rewrites and forwards')
      }
      await it.put(rule, options)
      // One that replaces another is not late: the one before steers on until then.
      if (!accepted.has(rule.flow.id)) accepted.set(rule.flow.id, performance.now())
      return 'accepted'
    },
    remove: (flow, options) => it.remove(flow, options),
    counters: (flow, options) => it.counters(flow, options),
    list: (options) => it.list(options),
  }
}
