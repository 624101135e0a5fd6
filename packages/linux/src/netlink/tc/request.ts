import { align, viewOf } from '../message.ts'
import { NETLINK_HEADER } from '../reply.ts'

/** A request to the kernel's traffic control, yet without its sequence number. */
export interface TcRequest {
  /** RTM_* (include/uapi/linux/rtnetlink.h). */
  readonly type: number
  /** NLM_F_*, apart from NLM_F_REQUEST and NLM_F_ACK. */
  readonly flags: number
  readonly body: Uint8Array
}

export const NLM_F_REQUEST = 1
export const NLM_F_ACK = 4

/** How many bytes {@link writeRequest} takes. */
export function requestLength({ body }: TcRequest): number {
  return NETLINK_HEADER + align(body.length)
}

/**
 * Writes a whole netlink message at `offset` of `into`, so that many fit in one datagram. Returns the offset behind it.
 * `acknowledge`: the kernel is to confirm it (NLM_F_ACK), as it must not do for a dump.
 */
export function writeRequest(
  into: Uint8Array,
  offset: number,
  { type, flags, body }: TcRequest,
  sequence: number,
  acknowledge: boolean,
): number {
  const view = viewOf(into)
  view.setUint32(offset, NETLINK_HEADER + body.length, true)
  view.setUint16(offset + 4, type, true)
  view.setUint16(offset + 6, flags | NLM_F_REQUEST | (acknowledge ? NLM_F_ACK : 0), true)
  view.setUint32(offset + 8, sequence, true)
  view.setUint32(offset + 12, 0, true)
  into.set(body, offset + NETLINK_HEADER)
  return offset + NETLINK_HEADER + align(body.length)
}
