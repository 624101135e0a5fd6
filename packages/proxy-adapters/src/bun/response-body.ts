import { estimateShallowMemoryUsageOf } from 'bun:jsc'
import { isAscii, isUtf8 } from 'node:buffer'
import { peek, type Socket } from 'bun'
import { SharedBody } from './shared-body.ts'
import { StoredBody } from './stored-body.ts'

/** The body of a response in the cheapest form that it can be sent from. */
export type ResponseBody =
  /** In memory. `owned` when nobody else can see the bytes. */
  | {
      readonly kind: 'bytes'
      readonly bytes: Uint8Array
      readonly owned: boolean
      readonly contentType: string | undefined
    }
  /** In memory, large, and written without ever becoming a JavaScript object. */
  | { readonly kind: 'stored'; readonly stored: StoredBody; readonly contentType: string | undefined }
  /** Sent many times, out of the kernel's memory. */
  | { readonly kind: 'shared'; readonly shared: SharedBody; readonly contentType: string }
  | StreamedBody

/** Not in memory. `file` when it is one: its size and type are known. */
export interface StreamedBody {
  readonly kind: 'stream'
  readonly stream: ReadableStream<unknown>
  readonly file: Blob | undefined
}

const TEXT = 'text/plain;charset=utf-8'
const BINARY = 'application/octet-stream'
export const EMPTY: ResponseBody = { kind: 'bytes', bytes: new Uint8Array(0), owned: false, contentType: undefined }

/**
 * Takes the body out of a response. A body that is in memory comes at once and without a stream, which would cost more than
 * the whole request. The interface of `Response` does not say which kind of body it has, and `bytes()` on a stream would collect it
 * without limit; {@link plainSize} and {@link formOf} find it out.
 * @throws TypeError when the body has been used.
 */
export function takeBody(response: Response, socket: Socket<unknown>): ResponseBody {
  const shared = SharedBody.of(response)
  if (shared !== undefined && !response.bodyUsed) return { kind: 'shared', shared, contentType: shared.type }
  const size = plainSize(response)
  if (size >= STORED_SIZE) {
    const stored = StoredBody.of(response, size, socket)
    if (stored !== undefined) return { kind: 'stored', stored, contentType: stored.isText ? TEXT : BINARY }
  }
  if (size > 0) return bytesOf(response, true)
  const form = formOf(response.clone() as Response, socket)
  if (form === 'memory') return bytesOf(response, false)
  if (form === 'file') {
    const file = peek(response.blob())
    if (file instanceof Blob) return { kind: 'stream', stream: file.stream(), file }
  }
  const stream = response.body
  return stream === null ? EMPTY : { kind: 'stream', stream, file: undefined }
}

/** Bodies of this size and more are written out of Bun's own memory. */
const STORED_SIZE = 128 * 1024

/** What the memory estimate of a `Response` without a body in memory is. */
const HOLLOW = estimateShallowMemoryUsageOf(new Response(null))
/** Whether this version of Bun estimates as {@link plainSize} expects. */
const ESTIMATES =
  estimateShallowMemoryUsageOf(new Response('four')) === HOLLOW + 4 &&
  estimateShallowMemoryUsageOf(new Response(new Uint8Array(8))) === HOLLOW + 8 &&
  estimateShallowMemoryUsageOf(new Response(new ReadableStream(), { headers: { 'content-length': '9' } })) === HOLLOW
/** Larger bodies are not taken for plain ones: were the estimate wrong, this is the most that would be collected. */
const MOST_PLAIN = 4 * 1024 * 1024

/**
 * The quick way to know a body that is in memory: the estimate of a `Response`'s memory counts a string's or buffer's bytes and nothing of a
 * stream. Returns that count, 0 when the long way must be taken: the estimate counts status text and URL too.
 */
function plainSize(response: Response): number {
  const size = estimateShallowMemoryUsageOf(response) - HOLLOW
  return ESTIMATES && size > 0 && size <= MOST_PLAIN && response.statusText === '' && response.url === '' ? size : 0
}

function bytesOf(response: Response, owned: boolean): ResponseBody {
  const promise = response.bytes()
  const bytes: unknown = peek(promise)
  if (bytes instanceof Uint8Array) return { kind: 'bytes', bytes, owned, contentType: sniff(bytes) }
  if (peek.status(promise) === 'rejected') {
    // `peek` gave the reason; the promise itself must not be reported as unhandled.
    promise.catch(() => {})
    throw bytes
  }
  return { kind: 'stream', stream: streamOf(promise), file: undefined }
}

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

/**
 * Gives up a body that has been sent or is not sent. Frees its memory instead of leaving it to the garbage collector: the next
 * response gets the same memory while it is still in the processor's cache.
 */
export function release(body: ResponseBody): void {
  if (body.kind === 'stream') void body.stream.cancel().catch(() => {})
  else if (body.kind === 'stored') body.stored.release()
  else if (body.kind === 'bytes' && body.owned && body.bytes.length >= RELEASED_SIZE)
    (body.bytes.buffer as ArrayBuffer).transfer(0)
}

/** Below this size detaching a buffer costs more than it saves. */
const RELEASED_SIZE = 8 * 1024
/** How much of a body is looked at to find out whether it is text. */
const SNIFFED = 4096

/**
 * The content type of a body whose handler gave none. A string and bytes look alike in a `Response`, though a string must be sent as text
 * (Fetch, "extract a body"), so the content decides, as in Go's net/http.
 */
function sniff(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined
  const start = bytes.length > SNIFFED ? bytes.subarray(0, SNIFFED) : bytes
  const text = (isAscii(start) || isUtf8(bytes.length > SNIFFED ? wholeCharacters(start) : start)) && !start.includes(0)
  return text ? TEXT : BINARY
}

/** Without a UTF-8 character that the end may have cut. */
function wholeCharacters(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > bytes.length - 4 && ((bytes[end - 1] as number) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end - 1)
}
