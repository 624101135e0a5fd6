import { LinuxError } from '../../errno.ts'
import { align, NetlinkBody, viewOf } from '../message.ts'

const NLA_TYPE_MASK = 0x3fff

/** One attribute of a message, its value as a view. */
export interface NetlinkAttribute {
  readonly type: number
  readonly value: Uint8Array
}

/** The attributes in `bytes` in their order, repeated ones too. What is cut off at the end is left out. */
export function* attributesInOrder(bytes: Uint8Array): Generator<NetlinkAttribute, void, undefined> {
  const view = viewOf(bytes)
  let offset = 0
  while (offset + 4 <= bytes.length) {
    const length = view.getUint16(offset, true)
    if (length < 4 || offset + length > bytes.length) return
    const type = view.getUint16(offset + 2, true) & NLA_TYPE_MASK
    yield { type, value: bytes.subarray(offset + 4, offset + length) }
    offset += align(length)
  }
}

/** Attributes without a fixed structure in front of them: the content of a nested attribute. */
export function attributes(): NetlinkBody {
  return new NetlinkBody(new Uint8Array())
}

/** A number in network byte order. */
export function bytes16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}

/** A number in network byte order. */
export function bytes32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  viewOf(bytes).setUint32(0, value, false)
  return bytes
}

/** The fields of an attribute's value. Throws {@link LinuxError} EBADMSG when it has fewer than `length` bytes. */
export function fields(name: string, value: Uint8Array, length: number): DataView {
  if (value.length >= length) return viewOf(value)
  throw new LinuxError(name, 'EBADMSG', `the kernel's answer has ${value.length} bytes where ${length} are expected`)
}
