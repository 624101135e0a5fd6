import ipaddr from 'ipaddr.js'
import { CodecError } from './errors.ts'

/** The number of bytes of an address. */
export const ADDRESS_LENGTH = 16

/** Whether the 16 bytes are an IPv4 address. */
export function isMapped(bytes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < 10; index++) if (bytes[offset + index] !== 0) return false
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff
}

/**
 * Writes 16 bytes, an IPv4 address in its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2), and returns its family. Throws
 * {@link CodecError}.
 */
export function writeAddress(bytes: Uint8Array, offset: number, text: string): 4 | 6 {
  if (!ipaddr.isValid(text) || text.includes('%')) throw new CodecError(`"${text}" is no IP address`)
  // ipaddr.js takes an IPv4-compatible IPv6 address (RFC 4291 section 2.5.5.1), `::192.0.2.1`, for an IPv4-mapped one.
  const address = ipaddr.process(text.replace(/^::(?=[0-9.]+$)/, '0::'))
  if (address.kind() === 'ipv4') {
    bytes[offset + 10] = 0xff
    bytes[offset + 11] = 0xff
    bytes.set(address.toByteArray(), offset + 12)
    return 4
  }
  bytes.set(address.toByteArray(), offset)
  return 6
}

/** The address in its usual text form. */
export function readAddress(bytes: Uint8Array, offset: number): string {
  const address = bytes.subarray(offset, offset + 16)
  return isMapped(bytes, offset) ? address.subarray(12).join('.') : ipaddr.fromByteArray(Array.from(address)).toString()
}
