import { parseRequestHead, type RequestHead } from '../http/index.ts'

/** The head that these bytes are; undefined when they are none. */
export function headOf(bytes: Uint8Array): RequestHead | undefined {
  const head = parseRequestHead(bytes)
  return head.kind === 'head' ? head : undefined
}

/** A copy of the request head that these bytes begin with, nothing when they do not. */
export function headIn(bytes: Uint8Array): Uint8Array {
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf('\r\n\r\n')
  return bytes.slice(0, end < 0 ? 0 : end + 4)
}
