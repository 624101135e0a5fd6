/** Bytes in network order, as headers are made of. */
export function u16(value: number): [number, number] {
  return [(value >>> 8) & 0xff, value & 0xff]
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value)]
}

export function bytesOf(octets: readonly number[]): Uint8Array {
  return Uint8Array.from(octets)
}

/** The Internet checksum (RFC 1071). */
export function checksum(octets: readonly number[]): number {
  let sum = 0
  for (let at = 0; at < octets.length; at += 2) sum += ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** For messages: `02 00 5e ...`. */
export function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
