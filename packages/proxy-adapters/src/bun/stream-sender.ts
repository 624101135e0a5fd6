import type { Output } from './output.ts'
import type { Transfer } from './transfer.ts'

/** The body of a stream does not fit its Content-Length, or holds something that is not bytes. */
export class ResponseStreamError extends Error {}

const encoder = new TextEncoder()

/** Turns what a stream yields into bytes. Strings are allowed, as `Bun.serve` allows them. */
function toBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return encoder.encode(chunk)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new ResponseStreamError('a response stream yielded something that is neither bytes nor text')
}

export type StreamFraming =
  | { readonly kind: 'chunked' | 'close' }
  | { readonly kind: 'length'; readonly contentLength: number }
/** Reads a response body. */
export type BodyReader = ReadableStreamDefaultReader<unknown>
export type BodyRead = Awaited<ReturnType<BodyReader['read']>>

/**
 * Sends a stream as a response body, one chunk at a time and never faster than the client reads.
 * @param head goes out together with the first chunk, or at once when that is not there yet. Empty when it has been sent.
 * @param first the stream's first read.
 * @returns whether everything is out; false when the client is gone.
 * @throws what the stream throws; {@link ResponseStreamError}.
 */
export async function sendStream(
  output: Output,
  head: string,
  reader: BodyReader,
  first: BodyRead | Promise<BodyRead>,
  transfer: Transfer,
): Promise<boolean> {
  const { framing } = transfer
  let pendingHead = head
  if (first instanceof Promise) {
    if (pendingHead !== '') output.send(pendingHead)
    pendingHead = ''
    transfer.advance(0)
  }
  let remaining = framing.kind === 'length' ? framing.contentLength - transfer.queued : Number.POSITIVE_INFINITY
  for (let read = await first; !read.done; read = await reader.read()) {
    const bytes = toBytes(read.value)
    if (bytes.length === 0) continue
    remaining -= bytes.length
    if (remaining < 0) throw new ResponseStreamError('a response stream is longer than its Content-Length')
    if (framing.kind === 'chunked') output.send(`${pendingHead}${bytes.length.toString(16)}\r\n`, bytes, '\r\n')
    else output.send(pendingHead, bytes)
    pendingHead = ''
    transfer.advance(bytes.length)
    if (output.blocked && !(await output.drained())) return false
  }
  if (remaining > 0 && framing.kind === 'length') {
    // The stream of a client that is gone ends early.
    if (!(await output.drained())) return false
    throw new ResponseStreamError('a response stream is shorter than its Content-Length')
  }
  transfer.complete()
  if (framing.kind === 'chunked') output.send(`${pendingHead}0\r\n\r\n`)
  else if (pendingHead !== '') output.send(pendingHead)
  return await output.drained()
}
