import { type NetworkUnderTest, readFrame, TCP, withHopLimit } from '@xoffload/core/conformance'
import type { Breakage } from './breakages.ts'

/** The device on a network that does something else with frames. */
function changing(change: (network: NetworkUnderTest) => Partial<NetworkUnderTest>): Breakage['breaks'] {
  return (device) => {
    if (device.network === undefined) throw new Error('the device has no network')
    return { ...device, network: { ...device.network, ...change(device.network) } }
  }
}

/** Frames on their way to the client or the target, changed. */
function arriving(change: (frames: readonly Uint8Array[]) => readonly Uint8Array[]): Breakage['breaks'] {
  return changing((network) => ({ received: async (host) => change(await network.received(host)) }))
}

/** What the card does to frames before its rule table sees them. */
function sending(change: (frame: Uint8Array, network: NetworkUnderTest) => Uint8Array): Breakage['breaks'] {
  return changing((network) => ({ send: (frame) => network.send(change(frame, network)) }))
}

const tagged = (frame: Uint8Array) => (readFrame(frame)?.network ?? 14) > 14

/** What a NIC may do wrong with packets. */
export const packetBreakages: readonly Breakage[] = [
  {
    what: 'steered packets are routed: a hop is taken from them',
    caughtBy: 'packets that are steered: get other MAC addresses and nothing else, with 0 VLAN tags (IPv4)',
    breaks: arriving((frames) => frames.map((frame) => withHopLimit(frame, 63))),
  },
  {
    what: 'VLAN tags are lost',
    caughtBy: 'packets that are steered: get other MAC addresses and nothing else, with 1 VLAN tags (IPv6)',
    breaks: arriving((frames) =>
      frames.map((frame) =>
        tagged(frame) ? Uint8Array.from([...frame.subarray(0, 12), ...frame.subarray(16)]) : frame,
      ),
    ),
  },
  {
    what: 'steered packets keep their source address',
    caughtBy: 'packets that are steered: get other MAC addresses and nothing else, with 2 VLAN tags',
    breaks: changing((network) => ({
      received: async (host) =>
        (await network.received(host)).map((frame) =>
          host === 'target'
            ? Uint8Array.from([...frame.subarray(0, 6), ...network.client.bytes, ...frame.subarray(12)])
            : frame,
        ),
    })),
  },
  {
    what: 'steered packets reach the stack as well',
    caughtBy: 'packets that are steered: are steered and not copied',
    breaks: changing((network) => {
      let copies = 0
      return {
        send: (frame) => {
          copies += 1
          return network.send(frame)
        },
        stackPackets: async () => Math.max(copies, await network.stackPackets()),
      }
    }),
  },
  {
    what: 'packets are steered twice',
    caughtBy: 'packets that are steered: are steered and not copied',
    breaks: arriving((frames) => frames.flatMap((frame) => [frame, frame])),
  },
  {
    what: 'held packets come out in another order',
    caughtBy: 'packets that are held: go to the target in order',
    breaks: arriving((frames) => frames.toReversed()),
  },
  {
    what: 'a frozen socket is heard',
    caughtBy: 'packets that are steered: are not answered',
    breaks: changing((network) => {
      const said: Uint8Array[] = []
      return {
        emit: (frame) => void said.push(frame),
        received: async (host) => [...(await network.received(host)), ...(host === 'client' ? said.splice(0) : [])],
      }
    }),
  },
  {
    what: 'an RST that was held goes out',
    caughtBy: 'packets that are held: of this host are stored too, in order, but for RST',
    breaks: changing((network) => {
      const resets: Uint8Array[] = []
      return {
        emit: (frame) => {
          if (((readFrame(frame)?.tcp?.flags ?? 0) & TCP.RST) !== 0) resets.push(frame)
          else return network.emit(frame)
        },
        received: async (host) => [...(await network.received(host)), ...(host === 'client' ? resets.splice(0) : [])],
      }
    }),
  },
  {
    what: 'a SYN is steered though the connection has ended',
    caughtBy: 'packets that are steered: of a connection that has ended',
    breaks: sending((frame) => {
      const tcp = readFrame(frame)?.tcp
      if (tcp === undefined || tcp.flags !== TCP.SYN) return frame
      const copy = frame.slice()
      // As if the flag were not there.
      copy[(readFrame(frame)?.network ?? 0) + (tcp.flow.family === 4 ? 33 : 53)] = TCP.ACK
      return copy
    }),
  },
  {
    what: 'a returned packet keeps its hop limit',
    caughtBy: 'packets that are steered: of a rule that returns them',
    breaks: arriving((frames) => frames.map((frame) => withHopLimit(frame, 64))),
  },
  {
    what: 'the first fragment is steered',
    caughtBy: 'packets that are left alone: every fragment: under steer',
    breaks: sending((frame) => {
      const network = readFrame(frame)?.network ?? 0
      if (frame[network + 6] !== 0x20 || frame[network + 7] !== 0) return frame
      const copy = frame.slice()
      copy[network + 6] = 0
      return copy
    }),
  },
  {
    what: 'packets for other hosts are steered',
    caughtBy: 'packets that are left alone: another destination MAC address',
    breaks: sending((frame, network) => Uint8Array.from([...network.device.bytes, ...frame.subarray(6)])),
  },
  {
    what: 'UDP is steered as if it were TCP',
    caughtBy: 'packets that are left alone: another protocol',
    breaks: sending((frame) => {
      const reading = readFrame(frame)
      const at = (reading?.network ?? 0) + (reading?.type === 0x0800 ? 9 : 6)
      if (frame[at] !== 17) return frame
      const copy = frame.slice()
      copy[at] = 6
      return copy
    }),
  },
  {
    what: 'bytes are counted without the Ethernet header',
    caughtBy: 'packets that are steered: are counted',
    breaks: (device) => ({
      ...device,
      redirector: async (request) => {
        const it = await device.redirector(request)
        const { counters } = it
        return Object.assign(it, {
          counters: async (...args: Parameters<typeof counters>) => {
            const found = await counters.apply(it, args)
            return found && { ...found, bytes: found.bytes - 14n * found.packets }
          },
        })
      },
    }),
  },
]
