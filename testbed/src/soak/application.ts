/**
 * The application of the soak's servers: `/KIND/START/LENGTH` answers with the ramp, `/upload/START/LENGTH` says whether the ramp has
 * arrived. Prints a line for every response of another server that it continues.
 */
import { resumable, SharedBody } from '@xoffload/proxy-adapters/bun'
import { checkRamp, rampBytes } from '../ramp/ramp.ts'
import { type DownloadKind, SHARED_SIZES, uploadAnswer } from './plan.ts'

const CHUNK = 16 * 1024
/** Of a `slow` response: the bytes of a piece, and the milliseconds between two. */
const SLOW_CHUNK = 4096
const SLOW_INTERVAL = 4

const servedBy = { 'x-served-by': process.env.XOFFLOAD_SERVED_BY ?? 'unknown' }
const shared = new Map(SHARED_SIZES.map((size) => [size, new SharedBody(whole(0, size))]))
const path = /^[^/]*\/\/[^/]*\/([a-z]+)\/(\d+)\/(\d+)$/

export function fetch(request: Request): Response | Promise<Response> {
  const [, kind = '', first, second] = path.exec(request.url) ?? []
  const [start, length] = [Number(first), Number(second)]
  switch (kind) {
    case 'upload':
      return receive(request, start, length)
    case 'memory':
      return new Response(whole(start, length), { headers: servedBy })
    case 'shared':
      return (
        shared.get(length as (typeof SHARED_SIZES)[number])?.response({ headers: servedBy }) ??
        new Response(null, { status: 404 })
      )
    case 'stream':
      return resumable(new Response(stream(start, length), { headers: servedBy }), `${kind} ${start} ${length}`)
    case 'length':
    case 'slow': {
      const headers = { ...servedBy, 'content-length': `${length}` }
      const body = stream(start, length, kind === 'slow')
      return resumable(new Response(body, { headers }), `${kind} ${start} ${length}`)
    }
    default:
      return new Response(null, { status: 404 })
  }
}

/** Continues a response that another server has begun. */
export function resume(state: Uint8Array, offset: number): ReadableStream<Uint8Array> {
  console.log('{"event":"resumed"}')
  const [kind, start, length] = new TextDecoder().decode(state).split(' ') as [DownloadKind, string, string]
  return stream(Number(start) + offset, Number(length) - offset, kind === 'slow')
}

export default fetch

async function receive(request: Request, start: number, expected: number): Promise<Response> {
  let length = 0
  let checksum = 0
  try {
    for await (const chunk of request.body ?? []) {
      checkRamp(chunk, start + length)
      checksum = Bun.hash.crc32(chunk, checksum)
      length += chunk.length
    }
    if (length !== expected) throw new Error(`${length} bytes have arrived`)
  } catch (error) {
    return new Response(`upload of ${expected} from ${start}: ${error}\n`, { status: 400 })
  }
  return new Response(uploadAnswer(length, checksum), { headers: servedBy })
}

function stream(start: number, length: number, slow = false): ReadableStream<Uint8Array> {
  let sent = 0
  return new ReadableStream({
    async pull(controller) {
      if (slow && sent > 0) await Bun.sleep(SLOW_INTERVAL)
      const size = Math.min(length - sent, slow ? SLOW_CHUNK : CHUNK)
      if (size > 0) controller.enqueue(rampBytes(start + sent, size))
      sent += size
      if (sent >= length) controller.close()
    },
  })
}

function whole(start: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const part = rampBytes(start + done, length - done)
    bytes.set(part, done)
    done += part.length
  }
  return bytes
}
