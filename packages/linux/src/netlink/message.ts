import { LinuxError } from '../errno.ts'

/** Builds the body of a netlink message: a fixed structure followed by attributes (include/uapi/linux/netlink.h). */
export class NetlinkBody {
  #bytes: Uint8Array<ArrayBuffer>
  #length: number

  /** Starts with the fixed structure that the message type wants. */
  constructor(fixed: Uint8Array) {
    this.#bytes = new Uint8Array(Math.max(256, 2 * fixed.length))
    this.#bytes.set(fixed)
    this.#length = fixed.length
  }

  attribute(type: number, value: Uint8Array): this {
    const start = align(this.#length)
    this.#reserve(start + 4 + align(value.length))
    const view = new DataView(this.#bytes.buffer)
    view.setUint16(start, 4 + value.length, true)
    view.setUint16(start + 2, type, true)
    this.#bytes.set(value, start + 4)
    this.#length = start + 4 + align(value.length)
    return this
  }

  u32(type: number, value: number): this {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    return this.attribute(type, bytes)
  }

  /** With a NUL at the end. */
  text(type: number, value: string): this {
    return this.attribute(type, new TextEncoder().encode(`${value}\0`))
  }

  nested(type: number, inner: NetlinkBody): this {
    return this.attribute(type | NLA_F_NESTED, inner.bytes)
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #reserve(length: number): void {
    if (length <= this.#bytes.length) return
    const larger = new Uint8Array(2 * length)
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff

/** The attributes in `bytes` by type; of one that is repeated, the last. What is cut off at the end is left out. */
export function netlinkAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>()
  const view = viewOf(bytes)
  let offset = 0
  while (offset + 4 <= bytes.length) {
    const length = view.getUint16(offset, true)
    if (length < 4 || offset + length > bytes.length) break
    attributes.set(view.getUint16(offset + 2, true) & NLA_TYPE_MASK, bytes.subarray(offset + 4, offset + length))
    offset += align(length)
  }
  return attributes
}

/** The number in a 4-byte attribute. Throws {@link LinuxError} EBADMSG when it is shorter. */
export function attributeU32(bytes: Uint8Array): number {
  if (bytes.length < 4)
    throw new LinuxError('netlink', 'EBADMSG', `an attribute of ${bytes.length} bytes where 4 are expected`)
  return viewOf(bytes).getUint32(0, true)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Netlink aligns headers and attributes to four bytes. */
export function align(length: number): number {
  return (length + 3) & ~3
}
