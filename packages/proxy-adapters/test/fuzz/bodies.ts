import {
  type FuzzTarget,
  hashOf,
  must,
  mustEqualBytes,
  mutated,
  pieces,
  Random,
} from '../../../core/test/support/fuzz/index.ts'
import {
  BodyDecoder,
  type BodyFraming,
  type BodyLimits,
  DEFAULT_BODY_LIMITS,
  type Refusal,
} from '../../src/http/index.ts'
import { latin1 } from './text.ts'

const corpus = [
  '5\r\nhello\r\n0\r\n\r\n',
  'a;name=value\r\n0123456789\r\n0000A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\n',
  '1\r\nx\r\n0\r\nDigest: abc\r\nX:  y \r\n\r\n',
  `40\r\n${'z'.repeat(64)}\r\n0;last\r\n\r\n`,
  'just twenty-six bytes long',
].map(latin1)

const words = [
  ...['\r\n', '\n', '\r', '0\r\n\r\n', '0', 'ffffffffffffffff', '1fffffffffffff', '-1', '0x1', ' 1', ';', ':', '\0'],
  ...['Trailer: x\r\n', ' folded\r\n', `${'a'.repeat(300)}`],
].map(latin1)

/** Chunks with extensions, some of them long. */
function built(random: Random): Uint8Array {
  const chunks = Array.from({ length: random.below(5) }, () => {
    const size = 1 + random.below(9)
    return `${size}${random.oneIn(2) ? `;${'e'.repeat(random.length(40))}` : ''}\r\n${'c'.repeat(size)}\r\n`
  })
  const trailers = Array.from({ length: random.below(3) }, () => `t: ${'u'.repeat(random.length(40))}\r\n`)
  return latin1(`${chunks.join('')}0\r\n${trailers.join('')}\r\nGET / HTTP/1.1\r\n`)
}

const framings: readonly BodyFraming[] = [
  { kind: 'chunked' },
  { kind: 'length', contentLength: 26 },
  { kind: 'length', contentLength: 60 },
  { kind: 'none' },
]
const SMALL: BodyLimits = { bodySize: 40, chunkLineSize: 20, chunkExtensionSize: 30, trailerSize: 30 }

/** A request body, cut anywhere. No input makes the decoder throw. */
export const requestBodies: FuzzTarget = {
  name: 'http-body',
  generate: (random) => mutated(random, random.oneIn(2) ? corpus : [built(random)], words),
  check(input) {
    const random = new Random([hashOf(input)])
    for (const framing of framings) {
      for (const limits of [{}, SMALL]) {
        const whole = decode(framing, limits, [input])
        mustBeLawful(whole, framing, limits)
        if (framing.kind === 'chunked' && whole.refusal === undefined)
          mustKeepLimits(input.subarray(0, whole.consumed), limits)
        const cut = decode(framing, limits, input.length === 0 ? [input] : pieces(input, random))
        must(Bun.deepEquals(cut.refusal, whole.refusal) && cut.done === whole.done, 'cut otherwise, it ends otherwise')
        must(Bun.deepEquals(cut.trailers, whole.trailers), 'cut otherwise, it has other trailers')
        // What one call has found before it meets an error is lost with it.
        if (whole.refusal !== undefined) continue
        must(cut.consumed === whole.consumed, 'cut otherwise, the next request begins elsewhere')
        mustEqualBytes(cut.content, whole.content, 'cut otherwise')
        if (whole.done && framing.kind === 'chunked') mustBeTheSameAgain(whole)
      }
    }
  },
}

interface Decoded {
  readonly content: Uint8Array
  readonly consumed: number
  readonly received: number
  readonly done: boolean
  readonly refusal: Refusal | undefined
  readonly trailers: readonly (readonly [string, string])[]
}

function decode(framing: BodyFraming, limits: Partial<BodyLimits>, chunks: readonly Uint8Array[]): Decoded {
  const decoder = new BodyDecoder(framing, limits)
  const content: Uint8Array[] = []
  let consumed = 0
  let refusal: Refusal | undefined
  for (const chunk of chunks) {
    const result = decoder.push(chunk)
    if (result.kind === 'error') {
      must(refusal === undefined || refusal === result, 'after a refusal, another one')
      refusal = result
      continue
    }
    must(refusal === undefined, 'after a refusal, content')
    must(result.done || result.consumed === chunk.length, 'bytes are left although the body is not done')
    content.push(...result.content)
    consumed += result.consumed
  }
  const { received, done, trailers } = decoder
  return { content: Buffer.concat(content), consumed, received, done, refusal, trailers }
}

function mustBeLawful(decoded: Decoded, framing: BodyFraming, limits: Partial<BodyLimits>): void {
  const { content, consumed, received, done, refusal, trailers } = decoded
  must(refusal === undefined || !done, 'refused and done')
  must(trailers.length === 0 || done, 'trailers before the end')
  if (refusal !== undefined) return
  must(content.length === received && received <= consumed, 'content is counted')
  must(received <= (limits.bodySize ?? Number.POSITIVE_INFINITY), 'more content than the limit')
  must(framing.kind !== 'length' || received <= framing.contentLength, 'more content than its length')
  must(framing.kind !== 'none' || consumed === 0, 'no body, and bytes of it')
  for (const text of trailers.flat()) must(!/[\r\n\0]/.test(text), 'a line end or a NUL in a trailer')
}

/** Reads the framing once more, line by line: the lines are as long as they may be, and no longer. */
function mustKeepLimits(consumed: Uint8Array, limits: Partial<BodyLimits>): void {
  const { chunkLineSize, chunkExtensionSize, trailerSize } = { ...DEFAULT_BODY_LIMITS, ...limits }
  const text = Buffer.from(consumed).toString('latin1')
  let extensions = 0
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\r\n', at)
    if (end < 0) return
    const [size = '', ...extension] = text.slice(at, end).split(';')
    must(/^[0-9A-Fa-f]{1,13}$/.test(size), 'a chunk size that is no number')
    if (extension.length > 0) {
      must(end - at < chunkLineSize, `a line of ${end - at} bytes`)
      extensions += end - at - size.length - 1
    }
    must(extensions < chunkExtensionSize, `extensions of ${extensions} bytes`)
    if (Number.parseInt(size, 16) === 0) {
      must(text.length - end - 2 <= trailerSize, 'trailers that are too long')
      return
    }
    at = end + 2 + Number.parseInt(size, 16) + 2
  }
}

/** Written in the plainest way, it is the same body. */
function mustBeTheSameAgain({ content, trailers }: Decoded): void {
  const size = content.length === 0 ? '' : `${content.length.toString(16)}\r\n`
  const end = `0\r\n${trailers.map((field) => `${field.join(':')}\r\n`).join('')}\r\n`
  const plain = [latin1(size), content, latin1(content.length === 0 ? end : `\r\n${end}`)]
  const again = decode({ kind: 'chunked' }, {}, [Buffer.concat(plain)])
  must(again.done && again.refusal === undefined, 'written again, it is refused')
  mustEqualBytes(again.content, content, 'written again')
  must(Bun.deepEquals(again.trailers, trailers), 'written again, it has other trailers')
}
