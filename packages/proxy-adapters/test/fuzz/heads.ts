import { type FuzzTarget, hashOf, must, mutated, Random } from '../../../core/test/support/fuzz/index.ts'
import {
  DEFAULT_HEAD_LIMITS,
  type HeadLimits,
  type ParsedHead,
  parseRequestHead,
  type RequestHead,
  RequestHeadParser,
} from '../../src/http/index.ts'
import { latin1 } from './text.ts'

const corpus = [
  'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n',
  'POST /a/b?c=d HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nContent-Length: 12\r\nAccept: */*\r\n\r\nhello, world',
  'PUT http://example.org/x HTTP/1.1\r\nhost: example.org\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n',
  'GET / HTTP/1.0\r\nConnection: keep-alive, x\r\nCookie: a=b; c=d\r\n\r\n',
  'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n',
  '\r\nOPTIONS * HTTP/1.1\r\nHost:\r\nX-Long: \t words with spaces \xe4 \t\r\nX-Empty:\r\n\r\nGET /next HTTP/1.1\r\n',
].map(latin1)

const words = [
  ...['\r\n', '\n', '\r', '\r\n\r\n', ' ', '\t', ':', '\0', '\x7f', '#', '%00', ',', ';', '"', '0', '-1', '+1'],
  ...['Content-Length: 5\r\n', 'Content-Length: 99999999999999999999\r\n', 'Transfer-Encoding: chunked\r\n'],
  ...[
    'Transfer-Encoding: gzip, chunked\r\n',
    'Host: a\r\n',
    'Connection: close\r\n',
    ' folded\r\n',
    'HTTP/1.0',
    'HTTP/2.0',
  ],
].map(latin1)

const LINES = [
  ...['Host: a', 'host: b:80', 'Content-Length: 5', 'content-length: 5', 'Content-Length: 6', 'Content-Length: +5'],
  ...['Transfer-Encoding: chunked', 'Transfer-Encoding: identity', 'Connection: close', 'Expect: 100-continue', 'X: y'],
]

/** A head of lines that may contradict each other. */
function built(random: Random): Uint8Array {
  const lines = Array.from({ length: random.below(5) }, () => random.pick(LINES))
  const version = random.pick(['1.1', '1.1', '1.0'])
  return latin1([`GET / HTTP/${version}`, ...(random.oneIn(3) ? [] : ['Host: x']), ...lines, '', ''].join('\r\n'))
}

const SMALL: HeadLimits = { headSize: 200, headerCount: 3 }

/** A request head, whole and in parts. No input makes the parser throw. */
export const requestHeads: FuzzTarget = {
  name: 'http-head',
  generate: (random) => mutated(random, random.oneIn(2) ? corpus : [built(random)], words),
  check(input) {
    const random = new Random([hashOf(input)])
    for (const limits of [DEFAULT_HEAD_LIMITS, SMALL]) {
      const parsed = parseRequestHead(input, limits)
      mustBeLawful(parsed, input, limits)
      // With fewer bytes it is the same, or not complete: what was decided once stays.
      const length = random.below(input.length + 1)
      for (const part of parsed.kind === 'head' ? [length, parsed.headLength, parsed.headLength - 1] : [length]) {
        const earlier = parseRequestHead(input.subarray(0, part), limits)
        must(earlier.kind === 'incomplete' || same(earlier, parsed), `the first ${part} bytes say otherwise`)
        const mayBeComplete = parsed.kind !== 'head' || part >= parsed.headLength
        must(earlier.kind !== 'head' || mayBeComplete, 'a head is complete without its end')
        must(
          part !== (parsed as RequestHead).headLength || earlier.kind === 'head',
          'a head is not complete with its end',
        )
      }
      // The parser of a connection remembers the last header section.
      const parser = new RequestHeadParser(limits)
      for (const bytes of [input, otherVersion(input), random.pick(corpus), input]) {
        must(same(parser.parse(bytes), parseRequestHead(bytes, limits)), 'the parser of a connection says otherwise')
      }
    }
  },
}

/** The same head in the other version of the protocol. */
function otherVersion(input: Uint8Array): Uint8Array {
  const text = Buffer.from(input).toString('latin1')
  return latin1(text.includes('HTTP/1.1') ? text.replace('HTTP/1.1', 'HTTP/1.0') : text.replace('HTTP/1.0', 'HTTP/1.1'))
}

function mustBeLawful(parsed: ParsedHead, input: Uint8Array, limits: HeadLimits): void {
  if (parsed.kind === 'incomplete') must(input.length < limits.headSize, 'more bytes than the limit, and no refusal')
  if (parsed.kind !== 'head') return
  must(parsed.headLength <= Math.min(input.length, limits.headSize), 'a head is longer than the limit')
  must(parsed.headers.count <= limits.headerCount, 'more fields than the limit')
  const { bodyFraming } = parsed
  must(bodyFraming.kind !== 'length' || Number.isSafeInteger(bodyFraming.contentLength), 'a length that is no number')
  const text = Buffer.from(input.subarray(0, parsed.headLength)).toString('latin1')
  must(!/[\r\n\0]/.test(text.replaceAll('\r\n', '')), 'a bare line end or a NUL in a head')
  const fields = parsed.headers.toArray()
  const count = (name: string): number => parsed.headers.getAll(name).length
  must(count('content-length') + count('transfer-encoding') <= 1, 'two ways to find the end of the body')
  must(count('host') === 1 || (parsed.version === '1.0' && count('host') === 0), 'no host, or several')
  for (const text of [parsed.method, parsed.target, ...fields.flat()]) {
    must(!/[\r\n\0]/.test(text), 'a line end or a NUL inside a value')
  }
  // Written in the plainest way, it is the same request.
  const lines = [`${parsed.method} ${parsed.target} HTTP/${parsed.version}`, ...fields.map((field) => field.join(': '))]
  const plain = latin1(`${lines.join('\r\n')}\r\n\r\n`)
  const again = parseRequestHead(plain, { headSize: plain.length + 1, headerCount: limits.headerCount })
  must(same({ ...parsed, headLength: plain.length }, again), 'written again, it is another request')
}

function same(one: ParsedHead, other: ParsedHead): boolean {
  return Bun.deepEquals(comparable(one), comparable(other))
}

function comparable(parsed: ParsedHead): unknown {
  return parsed.kind === 'head' ? { ...parsed, headers: parsed.headers.toArray() } : parsed
}
