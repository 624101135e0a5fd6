import { isAscii, isUtf8 } from 'node:buffer'
import { peek, type Socket } from 'bun'
import { estimateShallowMemoryUsageOf } from 'bun:jsc'

/** The body of a response in the cheapest form that it can be sent from. */
export type ResponseBody =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly owned: boolean; readonly contentType: string | undefined }
  | { readonly kind: 'stream'; readonly stream: ReadableStream<unknown>; readonly file: Blob | undefined }

const EMPTY: ResponseBody = { kind: 'bytes', bytes: new Uint8Array(0), owned: false, contentType: undefined }

/**
 * Takes the body out of a response. A body that is in memory comes as bytes at once, without a stream, which would cost more than
 * the whole request. The interface of `Response` does not say which kind of body it has, and `bytes()` on a stream would collect it
 * without limit; {@link isPlain} and {@link formOf} find it out.
 * @throws TypeError when the body has been used.
 */
export function takeBody(response: Response, socket: Socket<unknown>): ResponseBody {
  const form = isPlain(response) ? 'memory' : formOf(response.clone() as Response, socket)
  if (form === 'memory') {
    const promise = response.bytes()
    if (peek.status(promise) === 'fulfilled') {
      const bytes = peek(promise) as Uint8Array
      return { kind: 'bytes', bytes, owned: true, contentType: sniff(bytes) }
    }
    return { kind: 'stream', stream: streamOf(promise), file: undefined }
  }
  if (form === 'file') {
    const file = peek(response.blob())
    if (file instanceof Blob) return { kind: 'stream', stream: file.stream(), file }
  }
  const stream = response.body
  return stream === null ? EMPTY : { kind: 'stream', stream, file: undefined }
}

/** What the memory estimate of a `Response` without a body in memory is. */
const HOLLOW = estimateShallowMemoryUsageOf(new Response(null))
/** Bodies above this size are not taken for plain ones: were the estimate wrong, this is the most that would be collected. */
const MOST_PLAIN = 4 * 1024 * 1024

/**
 * The quick way to know a body that is in memory: the estimate of a `Response`'s memory counts a string's or buffer's bytes and nothing of a
 * stream. It counts status text and URL too, so responses that have those go the long way.
 */
function isPlain(response: Response): boolean {
  const size = estimateShallowMemoryUsageOf(response) - HOLLOW
  return ESTIMATES && size > 0 && size <= MOST_PLAIN && response.statusText === '' && response.url === ''
}

/** Whether this version of Bun estimates as {@link isPlain} expects. */
const ESTIMATES =
  estimateShallowMemoryUsageOf(new Response('four')) === HOLLOW + 4 &&
  estimateShallowMemoryUsageOf(new Response(new Uint8Array(8))) === HOLLOW + 8 &&
  estimateShallowMemoryUsageOf(new Response(new ReadableStream(), { headers: { 'content-length': '9' } })) === HOLLOW

/**
 * Frees the memory of a body that has been sent, instead of leaving it to the garbage collector: the next response gets the same memory while
 * it is still in the processor's cache, which is a quarter of the cost of a 64 KiB response.
 */
export function release(body: ResponseBody): void {
  if (body.kind === 'bytes' && body.owned && body.bytes.length >= RELEASED_SIZE) (body.bytes.buffer as ArrayBuffer).transfer(0)
}

/** Below this size detaching a buffer costs more than it saves. */
const RELEASED_SIZE = 8 * 1024

function streamOf(promise: Promise<Uint8Array>): ReadableStream<unknown> {
  return new ReadableStream({
    async pull(controller) {
      controller.enqueue(await promise)
      controller.close()
    },
  })
}

/**
 * The long way: Bun's `socket.write` takes a `Response` whose body is in memory and throws for any other, so a clone (which shares
 * the bytes) is offered for a write of length 0.
 */
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
