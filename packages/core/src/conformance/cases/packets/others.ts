import { MacAddress } from '../../../mac.ts'
import { group } from '../../case.ts'
import { ConformanceFailure } from '../../failure.ts'
import { packetCases, withoutHold } from './packet-case.ts'

const OTHER_HOST = MacAddress.parse('02:00:00:00:00:99')
const UDP = 17
/** Four no-operation options (RFC 791 section 3.1). */
const NO_OPERATIONS = [1, 1, 1, 1]

/** The fragment field of an IPv4 header (RFC 791 section 3.1): the flag "more fragments", and the offset in units of 8 bytes. */
const FRAGMENTS = [0x2000, 0x2008, 0x0008]

export const otherPacketCases = group(
  'packets that are left alone',
  packetCases([
    {
      name: 'every fragment: under steer they all go to the stack',
      families: [4],
      run: async (_, wire) => {
        await wire.put(wire.steering(1))
        const stack = await wire.watchStack()
        for (const fragment of FRAGMENTS) await wire.send(wire.clientFrame(1, { fragment }))
        await stack.gets(3, 'the fragments')
        await wire.nothingElseSteered('no fragment')
      },
    },
    {
      name: 'every fragment: under hold they all go to the stack',
      families: [4],
      absence: withoutHold,
      run: async (scene, wire) => {
        await wire.put({ action: 'hold', flow: wire.flow(1) })
        const stack = await wire.watchStack()
        for (const fragment of FRAGMENTS) await wire.send(wire.clientFrame(1, { fragment }))
        await stack.gets(3, 'the fragments')
        await scene.redirector.remove(wire.flow(1))
        await stack.gets(0, 'nothing later')
      },
    },
    {
      name: 'IP options: such a packet goes to the stack, or it is steered as it is',
      families: [4],
      run: async (scene, wire) => {
        await wire.put(wire.steering(1))
        const before = await scene.network.stackPackets()
        const frame = wire.clientFrame(1, { ipOptions: NO_OPERATIONS })
        await wire.send(frame)
        const next = wire.clientFrame(1)
        await wire.send(next)
        // What was sent first is there, or it never will be.
        if ((await scene.network.stackPackets()) === before) await wire.areSteered([frame], 'a packet with IP options')
        await wire.areSteered([next], 'the packet after it')
        if ((await scene.network.stackPackets()) > before + 1) {
          throw new ConformanceFailure('a packet was steered and has reached the stack as well')
        }
      },
    },
    {
      name: 'another protocol than TCP with the same ports',
      run: async (_, wire) => {
        await wire.put(wire.steering(1))
        await wire.send(wire.clientFrame(1, { protocol: UDP }))
        await wire.nothingElseSteered('nothing that is not TCP')
      },
    },
    {
      name: 'another destination MAC address: the packet is not for this host',
      run: async (_, wire) => {
        await wire.put(wire.steering(1))
        const stack = await wire.watchStack()
        await wire.send(wire.clientFrame(1, { destination: OTHER_HOST }))
        await stack.gets(0, 'nothing that is for another host')
        await wire.nothingElseSteered('nothing that is for another host')
      },
    },
  ]),
)
