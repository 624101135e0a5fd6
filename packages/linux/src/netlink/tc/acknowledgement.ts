import { type ErrnoName, errnoName } from '../../errno.ts'
import { textUntilNul } from '../../ffi/memory.ts'
import { align, netlinkAttributes } from '../message.ts'
import { NETLINK_HEADER, type NetlinkMessage } from '../reply.ts'
import { fields } from './attributes.ts'

const NLMSG_ERROR = 2
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1

/** What the kernel answered to a request with NLM_F_ACK. */
export interface Acknowledgement {
  readonly sequence: number
  /** Undefined when the request was carried out. */
  readonly errno: ErrnoName | undefined
  /** The kernel's or the driver's own words (extended ack); a request that was carried out may have some too, as a warning. */
  readonly text: string | undefined
}

/**
 * Reads `struct nlmsgerr` (include/uapi/linux/netlink.h): a negative errno, the header of the request, and with NLM_F_ACK_TLVS
 * attributes that explain it. Undefined for any other message. Throws {@link LinuxError} EBADMSG.
 */
export function decodeAcknowledgement(message: NetlinkMessage): Acknowledgement | undefined {
  if (message.type !== NLMSG_ERROR) return undefined
  const errno = -fields('NLMSG_ERROR', message.body, 4).getInt32(0, true)
  return {
    sequence: message.sequence,
    errno: errno === 0 ? undefined : errnoName(errno),
    text: explanation(message, errno !== 0),
  }
}

function explanation({ flags, body }: NetlinkMessage, failed: boolean): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0 || body.length < 4 + NETLINK_HEADER) return undefined
  // A request that failed is echoed, in full unless the answer is capped; of one that succeeded there is the header only.
  const whole = failed && (flags & NLM_F_CAPPED) === 0
  const echoed = whole ? fields('NLMSG_ERROR', body.subarray(4), 4).getUint32(0, true) : NETLINK_HEADER
  if (echoed > body.length - 4) return undefined
  const text = netlinkAttributes(body.subarray(4 + align(echoed))).get(NLMSGERR_ATTR_MSG)
  return text === undefined ? undefined : textUntilNul(text)
}
