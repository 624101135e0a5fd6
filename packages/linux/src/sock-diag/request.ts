import type { FlowKey } from '@xoffload/core'
import { AF_INET, AF_INET6, IPPROTO_TCP } from '../socket/constants.ts'

/** `sizeof(struct inet_diag_req_v2)` (include/uapi/linux/inet_diag.h). */
const LENGTH = 56
const FAMILY = 0
const PROTOCOL = 1
const STATES = 4
const LOCAL_PORT = 8
const REMOTE_PORT = 10
const LOCAL_ADDRESS = 12
const REMOTE_ADDRESS = 28
const COOKIE = 48

/** A `struct inet_diag_req_v2` for the TCP sockets of an address family that are in one of the states, a mask of them. */
export function statesRequest(family: number, states: number): Uint8Array {
  const request = new Uint8Array(LENGTH)
  request[FAMILY] = family
  request[PROTOCOL] = IPPROTO_TCP
  new DataView(request.buffer).setUint32(STATES, states, true)
  return request
}

/** One for the socket of a connection: the service is the local end. */
export function socketRequest({ bytes, family }: FlowKey, cookie: bigint): Uint8Array {
  const request = statesRequest(family === 4 ? AF_INET : AF_INET6, 0xffff_ffff)
  // An IPv4 address in a flow key is in its IPv4-mapped form, of which the last four bytes count.
  const from = family === 4 ? 12 : 0
  request.set(bytes.subarray(34, 36), LOCAL_PORT)
  request.set(bytes.subarray(32, 34), REMOTE_PORT)
  request.set(bytes.subarray(16 + from, 32), LOCAL_ADDRESS)
  request.set(bytes.subarray(from, 16), REMOTE_ADDRESS)
  new DataView(request.buffer).setBigUint64(COOKIE, cookie, true)
  return request
}
