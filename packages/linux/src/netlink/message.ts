import { LinuxError } from '../errno.ts'

/** Builds the body of a netlink message: a fixed structure followed by attributes (include/uapi/linux/netlink.h). */
export class NetlinkBody {
  #bytes: Uint8Array
  #length: number

  /** Starts with the fixed structure that the message type wants. */
  constructor(fixed: Uint8Array) {
    this.#bytes = new Uint8Array(Math.max(INITIAL_CAPACITY, 2 * fixed.length))
    this.#bytes.set(fixed)
    this.#length = fixed.length
  }

  attribute(type: number, value: Uint8Array | NetlinkBody): this {
    const [from, length] = value instanceof NetlinkBody ? [value.#bytes, value.#length] : [value, value.length]
    const at = this.#begin(type, length)
    const to = this.#bytes
    // They are short, and a view of a part, as `set` would need, costs more than to copy it.
    for (let index = 0; index < length; index++) to[at + index] = from[index] as number
    return this
  }

  u32(type: number, value: number): this {
    const at = this.#begin(type, 4)
    const bytes = this.#bytes
    bytes[at] = value
    bytes[at + 1] = value >>> 8
    bytes[at + 2] = value >>> 16
    bytes[at + 3] = value >>> 24
    return this
  }

  /** With a NUL at the end. */
  text(type: number, value: string): this {
    return this.attribute(type, encoder.encode(`${value}\0`))
  }

  nested(type: number, inner: NetlinkBody): this {
    return this.attribute(type | NLA_F_NESTED, inner)
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** The header of an attribute whose value has so many bytes. Returns where the value belongs. */
  #begin(type: number, length: number): number {
    const start = align(this.#length)
    this.#length = start + 4 + align(length)
    this.#reserve(this.#length)
    // Byte by byte: a DataView would cost as much as everything else here.
    const bytes = this.#bytes
    const total = 4 + length
    bytes[start] = total
    bytes[start + 1] = total >>> 8
    bytes[start + 2] = type
    bytes[start + 3] = type >>> 8
    return start + 4
  }

  #reserve(length: number): void {
    if (length <= this.#bytes.length) return
    const larger = new Uint8Array(2 * length)
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

const INITIAL_CAPACITY = 64
const encoder = new TextEncoder()
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
