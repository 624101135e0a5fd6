import { NetlinkBody } from '../../linux/src/netlink/message.ts'
import { attributes, attributesInOrder } from '../../linux/src/netlink/tc/attributes.ts'

const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const RTM_NEWTFILTER = 44
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const TCMSG_LENGTH = 20
const TCA_OPTIONS = 2
const FLOWER_ACT = 3
const FLOWER_FLAGS = 22
const IN_HARDWARE = 4
const ACT_STATS = 4
const ACT_OPTIONS = 2

/** What a filter in the fake has seen, all of it by the NIC. */
export interface FakeTraffic {
  readonly packets: bigint
  readonly bytes: bigint
  /** Since the last packet, in 10 milliseconds. */
  readonly idleTicks: bigint
}

/** `struct nlmsgerr` with the header of the request only, and the kernel's words. */
export function acknowledgement(sequence: number, errno: number, text?: string): Uint8Array {
  const fixed = new Uint8Array(20)
  new DataView(fixed.buffer).setInt32(0, -errno, true)
  const body = new NetlinkBody(fixed)
  if (text !== undefined) body.text(1, text)
  return message(NLMSG_ERROR, NLM_F_CAPPED | (text === undefined ? 0 : NLM_F_ACK_TLVS), sequence, body.bytes)
}

/** The end of a dump. */
export function doneMessage(sequence: number): Uint8Array {
  return message(NLMSG_DONE, 0, sequence, new Uint8Array(4))
}

/** A filter as the kernel tells it: what its request said, with flags and counters. */
export function filterMessage(sequence: number, request: Uint8Array, traffic: FakeTraffic): Uint8Array {
  const body = new NetlinkBody(request.subarray(0, TCMSG_LENGTH))
  for (const { type, value } of attributesInOrder(request.subarray(TCMSG_LENGTH))) {
    body.attribute(type, type === TCA_OPTIONS ? withResults(value, traffic) : value)
  }
  return message(RTM_NEWTFILTER, 2, sequence, body.bytes)
}

function withResults(options: Uint8Array, traffic: FakeTraffic): Uint8Array {
  const body = attributes()
  for (const { type, value } of attributesInOrder(options)) {
    if (type === FLOWER_ACT) body.attribute(type, withStatistics(value, traffic))
    else if (type === FLOWER_FLAGS)
      body.attribute(
        type,
        Uint8Array.from(value, (byte, index) => (index === 0 ? byte | IN_HARDWARE : byte)),
      )
    else body.attribute(type, value)
  }
  return body.bytes
}

function withStatistics(actions: Uint8Array, traffic: FakeTraffic): Uint8Array {
  const list = attributes()
  for (const { type, value } of attributesInOrder(actions)) {
    const action = attributes()
    for (const part of attributesInOrder(value)) {
      action.attribute(part.type, part.type === ACT_OPTIONS ? withTime(part.value, traffic) : part.value)
    }
    list.attribute(type, action.attribute(ACT_STATS, statistics(traffic)).bytes)
  }
  return list.bytes
}

/** Type 1 is TCA_PEDIT_TM and TCA_MIRRED_TM, with `install`, `lastuse`, `expires` and `firstuse`. */
function withTime(options: Uint8Array, { idleTicks }: FakeTraffic): Uint8Array {
  const time = new Uint8Array(32)
  new DataView(time.buffer).setBigUint64(8, idleTicks, true)
  const body = attributes()
  for (const { type, value } of attributesInOrder(options)) body.attribute(type, value)
  return body.attribute(1, time).bytes
}

/** The kernel adds the count in 64 bits when 32 are too few. */
function statistics({ packets, bytes }: FakeTraffic): Uint8Array {
  const body = attributes()
  for (const type of [1, 7]) {
    const basic = new Uint8Array(16)
    const view = new DataView(basic.buffer)
    view.setBigUint64(0, bytes, true)
    view.setUint32(8, Number(packets & 0xffffffffn), true)
    body.attribute(type, basic)
    if (packets >> 32n === 0n) continue
    const wide = new Uint8Array(8)
    new DataView(wide.buffer).setBigUint64(0, packets, true)
    body.attribute(8, wide)
  }
  return body.bytes
}

function message(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((16 + body.length + 3) & ~3)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 16 + body.length, true)
  view.setUint16(4, type, true)
  view.setUint16(6, flags, true)
  view.setUint32(8, sequence, true)
  bytes.set(body, 16)
  return bytes
}
