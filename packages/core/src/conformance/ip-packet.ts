import { FlowKey } from '../flow.ts'
import { checksum } from './octets.ts'

/** An IP packet without options or extension headers. */
export interface IpPacket {
  readonly family: 4 | 6
  readonly protocol: number
  readonly hopLimit: number
  readonly destination: string
  /** Of the IPv4 header; an IPv6 header has none. */
  readonly checksumHolds: boolean
  readonly payload: Uint8Array
}

/** Undefined for what is no such packet. Bytes behind its end are left out. */
export function readIpPacket(bytes: Uint8Array): IpPacket | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length >= 20 && bytes[0] === 0x45) {
    return {
      family: 4,
      protocol: view.getUint8(9),
      hopLimit: view.getUint8(8),
      destination: bytes.subarray(16, 20).join('.'),
      checksumHolds: checksum([...bytes.subarray(0, 20)]) === 0,
      payload: bytes.subarray(20, view.getUint16(2)),
    }
  }
  if (bytes.length < 40 || view.getUint8(0) >> 4 !== 6) return undefined
  return {
    family: 6,
    protocol: view.getUint8(6),
    hopLimit: view.getUint8(7),
    destination: ipv6Text(bytes.subarray(24, 40)),
    checksumHolds: true,
    payload: bytes.subarray(40, 40 + view.getUint16(4)),
  }
}

function ipv6Text(address: Uint8Array): string {
  const key = new Uint8Array(FlowKey.byteLength)
  key.set(address, 0)
  key.set(address, 16)
  key.set([0, 1, 0, 1], 32)
  return FlowKey.from(key).client.address
}
