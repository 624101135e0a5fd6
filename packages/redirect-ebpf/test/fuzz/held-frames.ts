import { FlowKey, MacAddress } from '@xoffload/core'
import { VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'
import { type FuzzTarget, must, mustEqualBytes, mutated, type Random } from '../../../core/test/support/fuzz/index.ts'
import { heldFrameFlow, steerHeldFrame, steerHeldFrameThrough } from '../../src/held-frame.ts'
import { tcpFrame } from '../netns/frames.ts'

const SOURCE = VIRTIO_NET_HEADER_LENGTH + 6
const mac = MacAddress.parse('02:00:00:00:00:01')
const target = MacAddress.parse('02:00:00:00:00:09')

const endpoints = [
  { from: { address: '192.0.2.1', port: 40_000 }, to: { address: '198.51.100.1', port: 443 } },
  { from: { address: '2001:db8::1', port: 40_000 }, to: { address: '2001:db8::2', port: 443 } },
]

const ETHERTYPES = [
  [0x81, 0],
  [0x88, 0xa8],
  [0x08, 0],
  [0x86, 0xdd],
].map((bytes) => Uint8Array.from(bytes))

function frame(random: Random): Uint8Array {
  const vlans = Array.from({ length: random.below(4) }, () => random.below(4096))
  const payload = random.bytes(random.length(40))
  const bytes = tcpFrame({ source: mac, destination: mac, ...random.pick(endpoints), vlans, payload })
  // The programs mark frames that were on their way out.
  if (random.oneIn(2)) bytes[SOURCE] = (bytes[SOURCE] ?? 0) | 1
  return bytes
}

/** A frame that was read from the TAP. */
export const heldFrames: FuzzTarget = {
  name: 'held-frame',
  generate: (random) => mutated(random, [frame(random), frame(random)], ETHERTYPES),
  check(input) {
    const flow = heldFrameFlow(input)
    // What lies behind the frame in memory is not read.
    must(flow === heldFrameFlow(input.slice()), 'the flow depends on what lies around the frame')
    must(flow === undefined || flow.length === FlowKey.byteLength, 'a flow has 36 bytes')
    if (flow === undefined) return
    const ports = Uint8Array.from(flow.slice(32), (character) => character.charCodeAt(0))
    must(
      contains(input, ports.subarray(0, 2)) && contains(input, ports.subarray(2)),
      'a flow has the ports of its frame',
    )
    const steered = input.slice()
    steerHeldFrame(steered, target)
    const incoming = ((input[SOURCE] ?? 0) & 1) === 0
    if (incoming) mustEqualBytes(steered.subarray(SOURCE - 6, SOURCE), target.bytes, 'the new destination')
    else mustEqualBytes(steered, input, 'a frame of this host stays as it is')
    const through = input.slice()
    steerHeldFrameThrough(through, 0x89abcdef)
    const number = Uint8Array.of(1, 0, 0xef, 0xcd, 0xab, 0x89)
    if (incoming) mustEqualBytes(through.subarray(SOURCE - 6, SOURCE), number, 'the number of the tunnel')
    else mustEqualBytes(through, input, 'a frame of this host stays as it is')
    mustEqualBytes(through.subarray(SOURCE), input.subarray(SOURCE), 'behind the destination nothing changes')
    mustEqualBytes(steered.subarray(SOURCE + 6), input.subarray(SOURCE + 6), 'behind the addresses nothing changes')
  },
}

function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  return bytes.some((byte, index) => byte === part[0] && bytes[index + 1] === part[1])
}
