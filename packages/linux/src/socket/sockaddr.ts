import { CodecError, FlowKey } from '@xoffload/core'
import { AF_INET, AF_INET6 } from './constants.ts'

/** `sizeof(struct sockaddr_in6)`: room for either family. */
export const SOCKADDR_LENGTH = 28
const SOCKADDR_IN_LENGTH = 16

/** Where an end of a flow lies in {@link FlowKey.bytes}. */
const position = { client: { address: 0, port: 32 }, service: { address: 16, port: 34 } } as const

/** One of the two ends of a flow. */
export type FlowEnd = keyof typeof position

/**
 * Writes one end of a flow as `struct sockaddr_in` or `struct sockaddr_in6` (ip(7), ipv6(7)) into `into`, which must have
 * {@link SOCKADDR_LENGTH} bytes. Returns the structure's length.
 */
export function encodeSockaddr(flow: FlowKey, end: FlowEnd, into: Uint8Array): number {
  const { address, port } = position[end]
  into.fill(0)
  into[2] = flow.bytes[port] as number
  into[3] = flow.bytes[port + 1] as number
  if (flow.family === 4) {
    into[0] = AF_INET
    into.set(flow.bytes.subarray(address + 12, address + 16), 4)
    return SOCKADDR_IN_LENGTH
  }
  into[0] = AF_INET6
  into.set(flow.bytes.subarray(address, address + 16), 8)
  return SOCKADDR_LENGTH
}

/**
 * Reads two socket addresses as a flow. An IPv4 address on a dual-stack socket (`::ffff:a.b.c.d`) makes an IPv4 flow.
 * Throws {@link CodecError} when one is not an IP socket address.
 */
export function decodeFlow(client: Uint8Array, service: Uint8Array): FlowKey {
  decodeEnd(client, 'client')
  decodeEnd(service, 'service')
  return FlowKey.from(key)
}

const key = new Uint8Array(FlowKey.byteLength)

function decodeEnd(sockaddr: Uint8Array, end: FlowEnd): void {
  const { address, port } = position[end]
  const family = (sockaddr[0] as number) | ((sockaddr[1] as number) << 8)
  if (family === AF_INET) {
    key.fill(0, address, address + 10)
    key.fill(0xff, address + 10, address + 12)
    key.set(sockaddr.subarray(4, 8), address + 12)
  } else if (family === AF_INET6) {
    key.set(sockaddr.subarray(8, 24), address)
  } else {
    throw new CodecError(`a socket address of family ${family}: AF_INET (2) or AF_INET6 (10) is expected`)
  }
  key[port] = sockaddr[2] as number
  key[port + 1] = sockaddr[3] as number
}
