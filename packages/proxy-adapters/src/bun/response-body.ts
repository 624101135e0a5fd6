import { isAscii, isUtf8 } from 'node:buffer'
import { peek, type Socket } from 'bun'

/** The body of a response in the cheapest form that it can be sent from. */
export type ResponseBody =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly contentType: string | undefined }
  | { readonly kind: 'stream'; readonly stream: ReadableStream<unknown>; readonly file: Blob | undefined }

const EMPTY: ResponseBody = { kind: 'bytes', bytes: new Uint8Array(0), contentType: undefined }

/**
 * Takes the body out of a response. A body that is in memory comes as bytes at once, without a stream, which would cost more than
 * the whole request. The interface of `Response` does not say which kind of body it has, and `bytes()` on a stream would collect it without
 * limit. Bun's `socket.write` does know: it takes a `Response` whose body is in memory and throws for any other. So a clone
 * (which shares the bytes) is offered for a write of length 0.
 * @throws TypeError when the body has been used.
 */
export function takeBody(response: Response, socket: Socket<unknown>): ResponseBody {
  const form = formOf(response.clone() as Response, socket)
  if (form === 'memory') {
    const bytes = peek(response.bytes())
    if (bytes instanceof Uint8Array) return { kind: 'bytes', bytes, contentType: sniff(bytes) }
  }
  if (form === 'file') {
    const file = peek(response.blob())
    if (file instanceof Blob) return { kind: 'stream', stream: file.stream(), file }
  }
  const stream = response.body
  return stream === null ? EMPTY : { kind: 'stream', stream, file: undefined }
}

function formOf(clone: Response, socket: Socket<unknown>): 'memory' | 'file' | 'stream' {
  try {
    return socket.write(clone as unknown as Uint8Array, 0, 0) === 0 ? 'memory' : 'stream'
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_INVALID_ARG_TYPE')) return 'file'
    // The clone of a stream is one end of a tee: given up, or the tee would keep every chunk for it.
    clone.body?.cancel().catch(() => {})
    return 'stream'
  }
}

/** How much of a body is looked at to find out whether it is text. */
const SNIFFED = 512

/**
 * The content type of a body whose handler gave none. A string and bytes look alike in a `Response`, though a string must be sent as text
 * (Fetch, "extract a body"), so the content decides, as in Go's net/http.
 */
function sniff(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined
  const start = bytes.length > SNIFFED ? bytes.subarray(0, SNIFFED) : bytes
  const text = (isAscii(start) || isUtf8(wholeCharacters(start))) && !start.includes(0)
  return text ? 'text/plain;charset=utf-8' : 'application/octet-stream'
}

/** Without a UTF-8 character that the end may have cut. */
function wholeCharacters(bytes: Uint8Array): Uint8Array {
  if (bytes.length < SNIFFED) return bytes
  let end = bytes.length
  while (end > bytes.length - 4 && ((bytes[end - 1] as number) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end - 1)
}
