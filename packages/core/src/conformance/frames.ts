import { type Endpoint, FlowKey } from '../flow.ts'
import { MacAddress } from '../mac.ts'
import { bytesOf, checksum, u16, u32 } from './octets.ts'

/** Flags of a TCP header (RFC 9293 section 3.1). */
export const TCP = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10 } as const

export interface FrameFields {
  readonly source: MacAddress
  readonly destination: MacAddress
  readonly from: Endpoint
  readonly to: Endpoint
  /** Default ACK. */
  readonly flags?: number
  readonly payload?: string
  /** VLAN ids, outermost first; the outer one of two is a service tag (IEEE 802.1ad). */
  readonly vlans?: readonly number[]
  /** Default 64. */
  readonly hopLimit?: number
  /** More IPv4 header: 4 bytes of options, the fragment field (0x2000: more fragments), the protocol (default 6, TCP). */
  readonly ipOptions?: readonly number[]
  readonly fragment?: number
  readonly protocol?: number
}

export const IPV4 = 0x0800
export const IPV6 = 0x86dd
const CUSTOMER_TAG = 0x8100
const SERVICE_TAG = 0x88a8
const ETHERNET_LENGTH = 14
/** What a host may take for padding otherwise: Ethernet frames have 60 bytes at least. */
const MINIMUM_LENGTH = 60

/** An Ethernet frame with a TCP segment and right checksums. */
export function tcpFrame(fields: FrameFields): Uint8Array {
  const flow = FlowKey.of(fields.from, fields.to)
  const segment = tcpSegment(flow, fields)
  const packet = flow.family === 4 ? ipv4Packet(flow, segment, fields) : ipv6Packet(flow, segment, fields)
  const vlans = fields.vlans ?? []
  const tags = vlans.flatMap((id, at) => [...u16(at < vlans.length - 1 ? SERVICE_TAG : CUSTOMER_TAG), ...u16(id)])
  const type = u16(flow.family === 4 ? IPV4 : IPV6)
  return bytesOf([...fields.destination.bytes, ...fields.source.bytes, ...tags, ...type, ...packet])
}

function tcpSegment(flow: FlowKey, { flags = TCP.ACK, payload = '' }: FrameFields): number[] {
  const data = [...new TextEncoder().encode(payload.padEnd(MINIMUM_LENGTH, '.'))]
  const ports = flow.bytes.subarray(32, 36)
  const segment = [...ports, ...u32(1), ...u32(1), 5 << 4, flags, ...u16(1024), 0, 0, 0, 0, ...data]
  const pseudo = [...addressesOf(flow), ...u16(6), ...u16(segment.length)]
  segment.splice(16, 2, ...u16(checksum([...pseudo, ...segment])))
  return segment
}

function addressesOf(flow: FlowKey): number[] {
  const [client, service] = [flow.bytes.subarray(0, 16), flow.bytes.subarray(16, 32)]
  return flow.family === 4 ? [...client.subarray(12), ...service.subarray(12)] : [...client, ...service]
}

function ipv4Packet(flow: FlowKey, segment: number[], fields: FrameFields): number[] {
  const { ipOptions = [], fragment = 0, hopLimit = 64, protocol = 6 } = fields
  const length = 20 + ipOptions.length
  const fixed = [
    0x40 | (length / 4),
    0,
    ...u16(length + segment.length),
    ...u16(1),
    ...u16(fragment),
    hopLimit,
    protocol,
  ]
  const header = [...fixed, 0, 0, ...addressesOf(flow), ...ipOptions]
  header.splice(10, 2, ...u16(checksum(header)))
  return [...header, ...segment]
}

function ipv6Packet(flow: FlowKey, segment: number[], { hopLimit = 64, protocol = 6 }: FrameFields): number[] {
  return [0x60, 0, 0, 0, ...u16(segment.length), protocol, hopLimit, ...addressesOf(flow), ...segment]
}

/** What a frame is, as far as a redirector has to know. */
export interface FrameReading {
  readonly destination: MacAddress
  readonly source: MacAddress
  /** The type behind the VLAN tags, and where what it names begins. */
  readonly type: number
  readonly network: number
  /** Of plain TCP: IPv4 without options, or IPv6 without extension headers, and no fragment. */
  readonly tcp?: { readonly flow: FlowKey; readonly flags: number; readonly hopLimit: number }
}

/** Undefined for a frame that is too short to be one. */
export function readFrame(frame: Uint8Array): FrameReading | undefined {
  if (frame.length < ETHERNET_LENGTH) return undefined
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  let network = ETHERNET_LENGTH
  let type = view.getUint16(network - 2)
  while ((type === CUSTOMER_TAG || type === SERVICE_TAG) && frame.length >= network + 4) {
    type = view.getUint16(network + 2)
    network += 4
  }
  const base = {
    destination: MacAddress.from(frame.subarray(0, 6)),
    source: MacAddress.from(frame.subarray(6, 12)),
    type,
    network,
  }
  const tcp = type === IPV4 ? readIpv4(view, network) : type === IPV6 ? readIpv6(view, network) : undefined
  return tcp === undefined ? base : { ...base, tcp }
}

function readIpv4(view: DataView, at: number): FrameReading['tcp'] {
  if (view.byteLength < at + 40 || view.getUint8(at) !== 0x45 || view.getUint8(at + 9) !== 6) return undefined
  if ((view.getUint16(at + 6) & 0x3fff) !== 0) return undefined
  const mapped = (from: number) => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...octets(view, from, 4)]
  const flow = flowFrom([...mapped(at + 12), ...mapped(at + 16), ...octets(view, at + 20, 4)])
  return flow && { flow, flags: view.getUint8(at + 33), hopLimit: view.getUint8(at + 8) }
}

function readIpv6(view: DataView, at: number): FrameReading['tcp'] {
  if (view.byteLength < at + 60 || view.getUint8(at + 6) !== 6) return undefined
  const flow = flowFrom([...octets(view, at + 8, 32), ...octets(view, at + 40, 4)])
  return flow && { flow, flags: view.getUint8(at + 53), hopLimit: view.getUint8(at + 7) }
}

function octets(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length)
}

/** Ports may be 0 and addresses of mixed kinds in a frame, but not in a flow. */
function flowFrom(bytes: readonly number[]): FlowKey | undefined {
  try {
    return FlowKey.from(bytesOf(bytes))
  } catch {
    return undefined
  }
}

/** The same flow with its ends exchanged: that of the packets which the service sends. */
export function reversed(flow: FlowKey): FlowKey {
  return FlowKey.of(flow.service, flow.client)
}

/** The frame with other MAC addresses and nothing else changed. */
export function readdressed(frame: Uint8Array, source: MacAddress, destination: MacAddress): Uint8Array {
  const copy = frame.slice()
  copy.set(destination.bytes, 0)
  copy.set(source.bytes, 6)
  return copy
}

/** The frame with another IP hop limit, and the checksum of an IPv4 header made right. */
export function withHopLimit(frame: Uint8Array, hopLimit: number): Uint8Array {
  const copy = frame.slice()
  const reading = readFrame(copy)
  if (reading?.type === IPV6) copy[reading.network + 7] = hopLimit
  if (reading?.type !== IPV4) return copy
  const header = copy.subarray(reading.network, reading.network + 20)
  header[8] = hopLimit
  header.set([0, 0], 10)
  header.set(u16(checksum([...header])), 10)
  return copy
}
