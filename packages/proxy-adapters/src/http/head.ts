import { CR, COLON, FIELD_VALUE, LF, SPACE, TAB, TARGET, TOKEN } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'
import { Framing } from './framing.ts'
import { HeaderList } from './headers.ts'
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from './limits.ts'
import { isRequestTarget } from './target.ts'

/** How the end of a request's body is found (RFC 9112 6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly contentLength: number }
  | { readonly kind: 'chunked' }

/** One request head. */
export interface RequestHead {
  readonly kind: 'head'
  /** The method as it was sent; methods are case-sensitive. */
  readonly method: string
  /** The request target as it was sent: origin-form, absolute-form, authority-form (CONNECT) or `*` (OPTIONS). */
  readonly target: string
  readonly version: '1.0' | '1.1'
  readonly headers: HeaderList
  /** Bytes of the head, the empty line included: the body starts here. */
  readonly headLength: number
  readonly bodyFraming: BodyFraming
  /** Whether the client wants the connection to stay open after the response. */
  readonly keepAlive: boolean
  /** Whether the client waits for `100 Continue` before it sends the body. */
  readonly expectContinue: boolean
}

/** The bytes so far are the beginning of a head. */
export interface Incomplete {
  readonly kind: 'incomplete'
}

const INCOMPLETE: Incomplete = { kind: 'incomplete' }
/** A CRLF that an old client sends after a body is skipped once (RFC 9112 2.2). */
const LEADING_CRLF = 2
const VERSION_LENGTH = 'HTTP/1.1'.length

/**
 * Parses the request head at the start of `bytes` (RFC 9112), strictly: what two parsers could understand differently is refused.
 * Lines end with CRLF, there is no folding and no white space before a colon, at most one `Content-Length`, never together with
 * `Transfer-Encoding`, which may be nothing but `chunked`; HTTP/1.1 needs exactly one `Host`.
 * A pure function of `bytes`: with more bytes, call it again with all of them.
 */
export function parseRequestHead(bytes: Uint8Array, limits: Partial<HeadLimits> = DEFAULT_HEAD_LIMITS): ParsedHead {
  return new RequestHeadParser(limits).parse(bytes)
}

export type ParsedHead = RequestHead | Incomplete | Refusal

/**
 * {@link parseRequestHead} for the requests of one connection. Its result is the same; it is faster because it remembers the header
 * section of the last request: most clients repeat it byte for byte and change only the request line.
 */
export class RequestHeadParser {
  readonly #headSize: number
  readonly #headerCount: number
  #last: HeaderSection | undefined

  constructor(limits: Partial<HeadLimits> = DEFAULT_HEAD_LIMITS) {
    this.#headSize = limits.headSize ?? DEFAULT_HEAD_LIMITS.headSize
    this.#headerCount = limits.headerCount ?? DEFAULT_HEAD_LIMITS.headerCount
  }

  /** Parses the head at the start of `bytes`. A repeated header section gives the same {@link HeaderList} object again. */
  parse(bytes: Uint8Array): ParsedHead {
    const end = Math.min(bytes.length, this.#headSize)
    const incomplete = end < this.#headSize
    const start = bytes[0] === CR && bytes[1] === LF ? LEADING_CRLF : 0
    const line = scanRequestLine(bytes, start, end)
    if (typeof line === 'string') return refuse(400, line)
    if (line === undefined) return incomplete ? INCOMPLETE : refuse(414, 'the request line is longer than the limit')
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const request = readRequestLine(buffer, start, line)
    if (request.kind === 'error') return request
    const section = this.#section(buffer, line.next, end, request.version)
    if (section === undefined) return incomplete ? INCOMPLETE : refuse(431, 'the request head is larger than the limit')
    if (section.kind === 'error') return section
    const { method, target, version } = request
    const { headers, bodyFraming, keepAlive, expectContinue } = section
    const headLength = line.next + section.bytes.length
    return { kind: 'head', method, target, version, headers, headLength, bodyFraming, keepAlive, expectContinue }
  }

  #section(bytes: Buffer, start: number, end: number, version: HttpVersion): HeaderSection | Refusal | undefined {
    const last = this.#last
    if (last !== undefined && last.version === version) {
      const { length } = last.bytes
      // A complete section ends with an empty line, so equal bytes are the whole section.
      if (start + length <= end && bytes.compare(last.bytes, 0, length, start, start + length) === 0) return last
    }
    const offsets: number[] = []
    const next = scanFields(bytes, start, end, this.#headerCount, offsets)
    if (next === 0) return undefined
    if (typeof next === 'object') return next
    const section = readSection(bytes, start, next, version, offsets)
    if (section.kind === 'section' && next - start <= REMEMBERED_SIZE) {
      // A copy: a view would keep the whole received chunk.
      this.#last = { ...section, bytes: Buffer.from(section.bytes) }
    }
    return section
  }
}

type HttpVersion = '1.0' | '1.1'

/** A header section: from the byte behind the request line to the empty line, both included. */
interface HeaderSection {
  readonly kind: 'section'
  readonly bytes: Buffer
  readonly version: HttpVersion
  readonly headers: HeaderList
  readonly bodyFraming: BodyFraming
  readonly keepAlive: boolean
  readonly expectContinue: boolean
}

/** Larger header sections are not remembered: the memory is there once for every open connection. */
const REMEMBERED_SIZE = 1024

interface RequestLine {
  readonly methodEnd: number
  readonly targetEnd: number
  /** Where the first header field starts. */
  readonly next: number
}

/** Finds the parts of the request line; a text says what is wrong, `undefined` that the line is not complete. */
function scanRequestLine(bytes: Uint8Array, start: number, end: number): RequestLine | string | undefined {
  let at = start
  while (at < end && TOKEN[bytes[at] as number] === 1) at++
  const methodEnd = at
  if (at === end) return undefined
  if (methodEnd === start || bytes[at] !== SPACE) {
    // A lone CR may still become the empty line that is skipped.
    if (at === 0 && end === 1 && bytes[0] === CR) return undefined
    return 'the method is not a token followed by one space'
  }
  at++
  const targetStart = at
  while (at < end && TARGET[bytes[at] as number] === 1) at++
  const targetEnd = at
  if (at === end) return undefined
  if (targetEnd === targetStart || bytes[at] !== SPACE) return 'the request target is not visible ASCII followed by one space'
  at += 1 + VERSION_LENGTH
  for (let index = targetEnd + 1; index < Math.min(at, end); index++) {
    if (TARGET[bytes[index] as number] !== 1) return 'the protocol version is malformed'
  }
  if (at + 1 >= end) return at < end && bytes[at] !== CR ? 'the request line does not end with CRLF' : undefined
  if (bytes[at] !== CR || bytes[at + 1] !== LF) return 'the request line does not end with CRLF'
  return { methodEnd, targetEnd, next: at + 2 }
}

/** Collects the offsets of all fields. Returns where the body starts, 0 when the section is not complete. */
function scanFields(bytes: Uint8Array, start: number, end: number, headerCount: number, offsets: number[]): number | Refusal {
  let at = start
  for (let count = 0; at < end; count++) {
    if (bytes[at] === CR) {
      if (at + 1 === end) return 0
      return bytes[at + 1] === LF ? at + 2 : refuse(400, 'a bare CR stands in the header section')
    }
    if (count === headerCount) return refuse(431, 'the request head has more header fields than the limit')
    const nameStart = at
    while (at < end && TOKEN[bytes[at] as number] === 1) at++
    if (at === end) return 0
    if (at === nameStart || bytes[at] !== COLON) return refuse(400, 'a header line is not a token followed by a colon')
    const nameEnd = at++
    while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at++
    const valueStart = at
    while (at < end && FIELD_VALUE[bytes[at] as number] === 1) at++
    if (at === end) return 0
    if (bytes[at] !== CR) return refuse(400, 'a header value contains a control character')
    if (at + 1 === end) return 0
    if (bytes[at + 1] !== LF) return refuse(400, 'a header line does not end with CRLF')
    let valueEnd = at
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd--
    offsets.push(nameStart, nameEnd, valueStart, valueEnd)
    at += 2
  }
  return 0
}

function readRequestLine(bytes: Buffer, start: number, line: RequestLine): RequestStart | Refusal {
  const text = bytes.toString('latin1', start, line.next - 2)
  const method = text.slice(0, line.methodEnd - start)
  const target = text.slice(line.methodEnd - start + 1, line.targetEnd - start)
  const protocol = text.slice(line.targetEnd - start + 1)
  if (protocol !== 'HTTP/1.1' && protocol !== 'HTTP/1.0') {
    const known = /^HTTP\/[0-9]\.[0-9]$/.test(protocol)
    return known ? refuse(505, 'only HTTP/1.0 and HTTP/1.1 are spoken here') : refuse(400, 'the protocol version is malformed')
  }
  if (!isRequestTarget(method, target)) return refuse(400, 'the request target has no form that the method allows')
  return { kind: 'start', method, target, version: protocol === 'HTTP/1.1' ? '1.1' : '1.0' }
}

interface RequestStart {
  readonly kind: 'start'
  readonly method: string
  readonly target: string
  readonly version: HttpVersion
}

/** @param offsets of the fields from the start of `bytes`. */
function readSection(bytes: Buffer, start: number, end: number, version: HttpVersion, offsets: number[]): HeaderSection | Refusal {
  const text = bytes.toString('latin1', start, end)
  const framing = new Framing(version)
  for (let at = 0; at < offsets.length; at++) offsets[at] = (offsets[at] as number) - start
  for (let at = 0; at < offsets.length; at += 4) {
    const nameStart = offsets[at] as number
    const nameEnd = offsets[at + 1] as number
    if (!Framing.concerns(nameEnd - nameStart)) continue
    framing.see(text.slice(nameStart, nameEnd).toLowerCase(), text.slice(offsets[at + 2], offsets[at + 3]))
  }
  const refusal = framing.finish()
  if (refusal !== undefined) return refusal
  const headers = new HeaderList(text, offsets)
  const { bodyFraming, keepAlive, expectContinue } = framing
  return { kind: 'section', bytes: bytes.subarray(start, end), version, headers, bodyFraming, keepAlive, expectContinue }
}
