import type { FlowKey } from '@xoffload/core'
import { IPPROTO_TCP } from '../socket/constants.ts'

const IPV4_HEADER = 20
const IPV6_HEADER = 40
const TCP_HEADER = 20
const TIMESTAMPS_OPTION = 12
const FIN = 0x01
const PSH = 0x08
const ACK = 0x10
const HOP_LIMIT = 64

/** What a segment says. Its ACK flag is always set. */
export interface SegmentFields {
  readonly sequence: number
  /** Default 0. */
  readonly acknowledgement?: number
  /** The field of the header: in units of the window scale. Default 0. */
  readonly window?: number
  /** Default false. */
  readonly fin?: boolean
  /** Default false. */
  readonly push?: boolean
  /** TSval of the timestamps option (RFC 7323 section 3.2); its TSecr is 0, which echoes nothing. Default: no such option. */
  readonly timestamp?: number
  /** Default empty. */
  readonly payload?: Uint8Array
}

/** An IP packet from the client of a flow to its service with a TCP segment (RFC 9293 section 3.1), checksums included. */
export function encodeSegment(flow: FlowKey, fields: SegmentFields): Uint8Array {
  const { sequence, acknowledgement = 0, window = 0, fin = false, push = false, timestamp, payload } = fields
  const ipHeader = flow.family === 4 ? IPV4_HEADER : IPV6_HEADER
  const tcpHeader = TCP_HEADER + (timestamp === undefined ? 0 : TIMESTAMPS_OPTION)
  const length = tcpHeader + (payload?.length ?? 0)
  const packet = new Uint8Array(ipHeader + length)
  const segment = new DataView(packet.buffer, ipHeader)
  packet.set(flow.bytes.subarray(32, 36), ipHeader)
  segment.setUint32(4, sequence)
  segment.setUint32(8, acknowledgement)
  segment.setUint8(12, (tcpHeader / 4) << 4)
  segment.setUint8(13, ACK | (fin ? FIN : 0) | (push ? PSH : 0))
  segment.setUint16(14, window)
  if (timestamp !== undefined) {
    // Two NOPs align the option: kind 8, length 10 (RFC 7323 appendix A).
    segment.setUint32(TCP_HEADER, 0x01_01_08_0a)
    segment.setUint32(TCP_HEADER + 4, timestamp)
  }
  if (payload !== undefined) packet.set(payload, ipHeader + tcpHeader)
  segment.setUint16(16, segmentChecksum(flow, segment))
  if (flow.family === 4) writeIpv4Header(packet, flow)
  else writeIpv6Header(packet, flow, length)
  return packet
}

/** The kernel fills in total length, identification and header checksum (raw(7), IP_HDRINCL). */
function writeIpv4Header(packet: Uint8Array, flow: FlowKey): void {
  packet[0] = 0x45
  packet[8] = HOP_LIMIT
  packet[9] = IPPROTO_TCP
  packet.set(flow.bytes.subarray(12, 16), 12)
  packet.set(flow.bytes.subarray(28, 32), 16)
}

function writeIpv6Header(packet: Uint8Array, flow: FlowKey, length: number): void {
  packet[0] = 0x60
  packet[4] = length >> 8
  packet[5] = length
  packet[6] = IPPROTO_TCP
  packet[7] = HOP_LIMIT
  packet.set(flow.bytes.subarray(0, 32), 8)
}

/** RFC 1071 over the pseudo-header of the address family and the segment. */
function segmentChecksum(flow: FlowKey, segment: DataView): number {
  const length = segment.byteLength
  const addresses = new DataView(flow.bytes.buffer, flow.bytes.byteOffset, 32)
  // The first twelve bytes of an IPv4-mapped address are no part of the IPv4 pseudo-header.
  const from = flow.family === 4 ? 12 : 0
  let sum = IPPROTO_TCP + length
  for (let offset = from; offset < 16; offset += 2)
    sum += addresses.getUint16(offset) + addresses.getUint16(16 + offset)
  for (let offset = 0; offset + 1 < length; offset += 2) sum += segment.getUint16(offset)
  if (length % 2 === 1) sum += segment.getUint8(length - 1) << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
