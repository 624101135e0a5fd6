import { errnoName, LinuxError } from '../errno.ts'
import { textUntilNul } from '../ffi/memory.ts'
import { align, netlinkAttributes, viewOf } from './message.ts'

/** `sizeof(struct nlmsghdr)` (include/uapi/linux/netlink.h). */
export const NETLINK_HEADER = 16

const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1

/** One message of an answer. */
export interface NetlinkReply {
  readonly type: number
  /** After the netlink header: a fixed structure, then attributes. */
  readonly body: Uint8Array
}

/** One message of a datagram. */
export interface NetlinkMessage extends NetlinkReply {
  readonly flags: number
  readonly sequence: number
}

/** The messages of a datagram, as views into it. What is cut off at the end is left out. */
export function* netlinkMessages(datagram: Uint8Array): Generator<NetlinkMessage, void, undefined> {
  const view = viewOf(datagram)
  let offset = 0
  while (offset + NETLINK_HEADER <= datagram.length) {
    const length = view.getUint32(offset, true)
    if (length < NETLINK_HEADER || offset + length > datagram.length) return
    yield {
      type: view.getUint16(offset + 4, true),
      flags: view.getUint16(offset + 6, true),
      sequence: view.getUint32(offset + 8, true),
      body: datagram.subarray(offset + NETLINK_HEADER, offset + length),
    }
    offset += align(length)
  }
}

const ADVICE: Record<string, string> = { EPERM: 'it needs root, or the capability CAP_NET_ADMIN' }

/**
 * Throws {@link LinuxError} for the errno of a `struct nlmsgerr` that is not 0: a negative errno, the header of the request, and with
 * NLM_F_ACK_TLVS attributes that explain it.
 */
export function throwUnlessAcknowledged(call: string, flags: number, body: Uint8Array): void {
  if (body.length < 4) throw new LinuxError(call, 'EBADMSG', `the kernel's answer has ${body.length} bytes`)
  const errno = -viewOf(body).getInt32(0, true)
  if (errno === 0) return
  const name = errnoName(errno)
  throw new LinuxError(call, name, explanation(flags, body) ?? ADVICE[name])
}

function explanation(flags: number, body: Uint8Array): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0 || body.length < 4 + NETLINK_HEADER) return undefined
  // The request is echoed, in full unless the answer is capped.
  const echoed = (flags & NLM_F_CAPPED) !== 0 ? NETLINK_HEADER : viewOf(body).getUint32(4, true)
  if (echoed > body.length - 4) return undefined
  const text = netlinkAttributes(body.subarray(4 + align(echoed))).get(NLMSGERR_ATTR_MSG)
  return text === undefined ? undefined : `the kernel says "${textUntilNul(text)}"`
}
