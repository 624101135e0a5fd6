import type { HandoffReference } from '@xoffload/core'

/** TC_COOKIE_MAX_SIZE (include/uapi/linux/pkt_cls.h). */
const LENGTH = 16
const MAGIC = [0x78, 0x6f] as const
/** Another layout, another number. */
const VERSION = 1
const FLAG_HANDOFF = 1
const FLAG_PIN = 2
const FLAG_MADE_CLSACT = 4
const WORD = 2 ** 32

/** What a filter of ours says about itself in the cookie of its first action, so that the next process knows what it found. */
export type FilterCookie =
  /** A rule. `generation` differs from that of the rule it replaced (0 to 255). */
  | { readonly kind: 'rule'; readonly generation: number; readonly handoff?: HandoffReference }
  /** The filter that no packet matches, which stays as long as the redirector is open. */
  | { readonly kind: 'pin'; readonly madeClsact: boolean }

/** 16 bytes: "xo", version, flags, generation, then the handoff's number (7 bytes) and its epoch (4 bytes) in network byte order. */
export function encodeCookie(cookie: FilterCookie): Uint8Array {
  const bytes = new Uint8Array(LENGTH)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  bytes[2] = VERSION
  if (cookie.kind === 'pin') {
    bytes[3] = FLAG_PIN | (cookie.madeClsact ? FLAG_MADE_CLSACT : 0)
    return bytes
  }
  const { generation, handoff } = cookie
  bytes[3] = handoff === undefined ? 0 : FLAG_HANDOFF
  bytes[4] = generation
  if (handoff === undefined) return bytes
  // A safe integer has 53 bits: seven bytes, next to the generation.
  const high = Math.floor(handoff.handoff / WORD)
  bytes[5] = high >>> 16
  view.setUint16(6, high & 0xffff, false)
  view.setUint32(8, handoff.handoff >>> 0, false)
  view.setUint32(12, handoff.epoch, false)
  return bytes
}

/** Undefined for a cookie that this version has not written. */
export function decodeCookie(bytes: Uint8Array | undefined): FilterCookie | undefined {
  if (bytes === undefined || bytes.length !== LENGTH) return undefined
  if (bytes[0] !== MAGIC[0] || bytes[1] !== MAGIC[1] || bytes[2] !== VERSION) return undefined
  const flags = bytes[3] as number
  if ((flags & FLAG_PIN) !== 0) return { kind: 'pin', madeClsact: (flags & FLAG_MADE_CLSACT) !== 0 }
  const generation = bytes[4] as number
  if ((flags & FLAG_HANDOFF) === 0) return { kind: 'rule', generation }
  const view = new DataView(bytes.buffer, bytes.byteOffset, LENGTH)
  const handoff = ((bytes[5] as number) * 0x10000 + view.getUint16(6, false)) * WORD + view.getUint32(8, false)
  if (!Number.isSafeInteger(handoff)) return undefined
  return { kind: 'rule', generation, handoff: { handoff, epoch: view.getUint32(12, false) } }
}
