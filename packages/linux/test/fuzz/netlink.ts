import { type FuzzTarget, must, mutated, type Random, resultOrRefusal } from '../../../core/test/support/fuzz/index.ts'
import { LinuxError } from '../../src/errno.ts'
import {
  decodeAddress,
  decodeFilter,
  decodeLink,
  decodeLinkStatistics,
  decodeNeighbour,
} from '../../src/netlink/decode.ts'
import { ipAddressBytes } from '../../src/netlink/ip-address.ts'
import { NetlinkBody, netlinkAttributes, viewOf } from '../../src/netlink/message.ts'
import { NETLINK_HEADER, netlinkMessages, throwUnlessAcknowledged } from '../../src/netlink/reply.ts'

/** The fixed structures of rtnetlink(7) with attributes that the decoders read, and an error with its explanation. */
const bodies: readonly ((random: Random) => Uint8Array)[] = [
  (random) =>
    nested(
      new NetlinkBody(random.bytes(16)).text(3, 'eth0').attribute(1, random.bytes(6)).attribute(4, number(random)),
    ),
  (random) => new NetlinkBody(random.bytes(16)).attribute(23, random.bytes(200)).bytes,
  (random) => {
    const length = random.pick([4, 16, random.below(20)])
    const fixed = random.bytes(8)
    fixed[0] = random.pick([2, 10])
    return new NetlinkBody(fixed).attribute(1, random.bytes(length)).attribute(2, random.bytes(length)).bytes
  },
  (random) => new NetlinkBody(random.bytes(12)).attribute(2, random.bytes(6)).bytes,
  (random) => {
    const options = new NetlinkBody(new Uint8Array()).attribute(11, number(random))
    return new NetlinkBody(random.bytes(20)).text(1, 'bpf').nested(2, options).bytes
  },
  (random) => {
    const fixed = new Uint8Array(20)
    viewOf(fixed).setInt32(0, -random.below(200), true)
    viewOf(fixed).setUint32(4, 16, true)
    return new NetlinkBody(fixed).text(1, 'Device or resource busy').bytes
  },
]

/** Four bytes, or fewer. */
function number(random: Random): Uint8Array {
  return random.bytes(random.oneIn(4) ? random.below(4) : 4)
}

function nested(body: NetlinkBody): Uint8Array {
  return body.nested(18, new NetlinkBody(new Uint8Array()).text(1, 'veth')).bytes
}

/** Up to three messages in a datagram. */
function datagram(random: Random): Uint8Array {
  const messages = Array.from({ length: 1 + random.below(3) }, () => {
    const whole = random.pick(bodies)(random)
    const body = random.oneIn(4) ? whole.subarray(0, random.length(whole.length)) : whole
    const message = new Uint8Array((NETLINK_HEADER + body.length + 3) & ~3)
    viewOf(message).setUint32(0, NETLINK_HEADER + body.length, true)
    viewOf(message).setUint16(4, random.pick([2, 3, 16, 20, 28, 44]), true)
    viewOf(message).setUint16(6, random.pick([0, 2, 0x100, 0x200, 0x300]), true)
    message.set(body, NETLINK_HEADER)
    return message
  })
  return Uint8Array.from(messages.flatMap((message) => [...message]))
}

const decoders = [decodeLink, decodeLinkStatistics, decodeAddress, decodeNeighbour, decodeFilter]

/** A datagram from the kernel: every decoder meets every message. */
export const netlinkReplies: FuzzTarget = {
  name: 'netlink-reply',
  generate: (random) => mutated(random, [datagram(random), datagram(random)]),
  check(input) {
    let bytes = 0
    for (const { flags, body } of netlinkMessages(input)) {
      bytes += NETLINK_HEADER + body.length
      must(bytes <= input.length, 'messages have no more bytes than their datagram')
      must(isInside(body, input), 'a message lies in its datagram')
      let inside = 0
      for (const value of netlinkAttributes(body).values()) {
        inside += value.length
        must(isInside(value, body), 'an attribute lies in its message')
        const length = viewOf(body).getUint16(value.byteOffset - body.byteOffset - 4, true)
        must(length === value.length + 4, 'an attribute has the length that it says')
      }
      must(inside <= body.length, 'attributes have no more bytes than their message')
      resultOrRefusal(() => throwUnlessAcknowledged('request', flags, body), LinuxError)
      for (const decode of decoders) resultOrRefusal(() => decode(body), LinuxError)
      const address = resultOrRefusal(() => decodeAddress(body), LinuxError)
      if (address === undefined || address instanceof LinuxError) continue
      must(ipAddressBytes(address.address).length === (body[0] === 2 ? 4 : 16), 'an address of another family')
    }
  },
}

function isInside(part: Uint8Array, whole: Uint8Array): boolean {
  return part.byteOffset >= whole.byteOffset && part.byteOffset + part.length <= whole.byteOffset + whole.length
}
