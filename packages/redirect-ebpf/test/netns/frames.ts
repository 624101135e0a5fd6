import type { Endpoint, MacAddress } from '@xoffload/core'
import { FlowKey } from '@xoffload/core'
import { VIRTIO_NET_HEADER_LENGTH } from '@xoffload/linux'

/** Flags of a TCP header. */
export const FIN = 0x01
export const SYN = 0x02
export const RST = 0x04
export const ACK = 0x10

export interface TcpFrame {
  readonly source: MacAddress
  readonly destination: MacAddress
  readonly from: Endpoint
  readonly to: Endpoint
  readonly flags?: number
  readonly payload?: Uint8Array
  /** VLAN ids, outermost first; the outer one of two has the service tag's type. */
  readonly vlans?: readonly number[]
  /** An IPv4 header with a no-operation option. */
  readonly ipOptions?: boolean
  /** The fragment field of the IPv4 header: 0x2000 more fragments. */
  readonly fragment?: number
  /** Of either family. Default 64. */
  readonly hopLimit?: number
}

/** An Ethernet frame with right checksums, behind an empty virtio-net header. */
export function tcpFrame(frame: TcpFrame): Uint8Array {
  const ip = FlowKey.of(frame.from, frame.to)
  const tcp = tcpSegment(ip, frame.flags ?? ACK, frame.payload ?? new Uint8Array())
  const packet = ip.family === 4 ? ipv4Packet(ip, tcp, frame) : ipv6Packet(ip, tcp, frame)
  const type = ip.family === 4 ? 0x0800 : 0x86dd
  const vlans = frame.vlans ?? []
  const tags = vlans.flatMap((id, index) => [...u16(index === 0 && vlans.length > 1 ? 0x88a8 : 0x8100), ...u16(id)])
  const ethernet = [...frame.destination.bytes, ...frame.source.bytes, ...tags, ...u16(type)]
  return Uint8Array.from([...new Uint8Array(VIRTIO_NET_HEADER_LENGTH), ...ethernet, ...packet])
}

/** The frame behind the virtio-net header. */
export function withoutVirtioHeader(frame: Uint8Array): Uint8Array {
  return frame.subarray(VIRTIO_NET_HEADER_LENGTH)
}

function tcpSegment(ip: FlowKey, flags: number, payload: Uint8Array): number[] {
  const header = [
    ...u16(ip.client.port),
    ...u16(ip.service.port),
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    1,
    0x50,
    flags,
    ...u16(1024),
    0,
    0,
    0,
    0,
  ]
  const segment = [...header, ...payload]
  const addresses =
    ip.family === 4 ? [...ip.bytes.subarray(12, 16), ...ip.bytes.subarray(28, 32)] : [...ip.bytes.subarray(0, 32)]
  const sum = checksum([...addresses, ...u16(6), ...u16(segment.length), ...segment])
  segment.splice(16, 2, ...u16(sum))
  return segment
}

function ipv4Packet(ip: FlowKey, tcp: number[], { ipOptions, fragment, hopLimit = 64 }: TcpFrame): number[] {
  const options = ipOptions === true ? [1, 1, 1, 0] : []
  const length = 20 + options.length
  const header = [0x40 | (length / 4), 0, ...u16(length + tcp.length), 0, 1, ...u16(fragment ?? 0), hopLimit, 6, 0, 0]
  header.push(...ip.bytes.subarray(12, 16), ...ip.bytes.subarray(28, 32), ...options)
  header.splice(10, 2, ...u16(checksum(header)))
  return [...header, ...tcp]
}

function ipv6Packet(ip: FlowKey, tcp: number[], { hopLimit = 64 }: TcpFrame): number[] {
  return [0x60, 0, 0, 0, ...u16(tcp.length), 6, hopLimit, ...ip.bytes.subarray(0, 32), ...tcp]
}

function checksum(bytes: readonly number[]): number {
  let sum = 0
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

function u16(value: number): [number, number] {
  return [value >> 8, value & 0xff]
}
