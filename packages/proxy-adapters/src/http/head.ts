import { CR, LF } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'
import type { BodyFraming } from './framing.ts'
import { parseHeaderSection, SectionMemory } from './header-section.ts'
import type { HeaderList } from './headers.ts'
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from './limits.ts'
import { type HttpVersion, parseRequestLine } from './request-line.ts'

/** One request head. */
export interface RequestHead {
  readonly kind: 'head'
  /** The method as it was sent; methods are case-sensitive. */
  readonly method: string
  /** The request target as it was sent: origin-form, absolute-form, authority-form (CONNECT) or `*` (OPTIONS). */
  readonly target: string
  readonly version: HttpVersion
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

export type ParsedHead = RequestHead | Incomplete | Refusal

const INCOMPLETE: Incomplete = { kind: 'incomplete' }
/** A CRLF that an old client sends after a body is skipped once (RFC 9112 2.2). */
const LEADING_CRLF = 2

/**
 * Parses the request head at the start of `bytes` (RFC 9112), strictly: what two parsers could understand differently is refused.
 * Lines end with CRLF, there is no folding and no white space before a colon, at most one `Content-Length`, never together with
 * `Transfer-Encoding`, which may be nothing but `chunked`; HTTP/1.1 needs exactly one `Host`.
 * A pure function of `bytes`: with more bytes, call it again with all of them.
 */
export function parseRequestHead(bytes: Uint8Array, limits: Partial<HeadLimits> = DEFAULT_HEAD_LIMITS): ParsedHead {
  return parse(bytes, limits, undefined)
}

/**
 * {@link parseRequestHead} for the requests of one connection. The result is the same; a header section that repeats the
 * connection's last one costs a comparison and gives the same {@link HeaderList} object again.
 */
export class RequestHeadParser {
  readonly #limits: Partial<HeadLimits>
  readonly #memory = new SectionMemory()

  constructor(limits: Partial<HeadLimits> = DEFAULT_HEAD_LIMITS) {
    this.#limits = limits
  }

  parse(bytes: Uint8Array): ParsedHead {
    return parse(bytes, this.#limits, this.#memory)
  }
}

function parse(bytes: Uint8Array, limits: Partial<HeadLimits>, memory: SectionMemory | undefined): ParsedHead {
  const headSize = limits.headSize ?? DEFAULT_HEAD_LIMITS.headSize
  const headerCount = limits.headerCount ?? DEFAULT_HEAD_LIMITS.headerCount
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = Math.min(buffer.length, headSize)
  const start = buffer[0] === CR && buffer[1] === LF ? LEADING_CRLF : 0
  const line = parseRequestLine(buffer, start, end)
  if (line === undefined) return end < headSize ? INCOMPLETE : refuse(414, 'the request line is longer than the limit')
  if (line.kind === 'error') return line
  const { method, target, version, next } = line
  const known = memory?.recall(buffer, next, end, version)
  const section = known ?? parseHeaderSection(buffer, next, end, version, headerCount)
  if (section === undefined)
    return end < headSize ? INCOMPLETE : refuse(431, 'the request head is larger than the limit')
  if (section.kind === 'error') return section
  if (known === undefined) memory?.remember(buffer, next, section)
  const { headers, length, bodyFraming, keepAlive, expectContinue } = section
  return {
    kind: 'head',
    method,
    target,
    version,
    headers,
    headLength: next + length,
    bodyFraming,
    keepAlive,
    expectContinue,
  }
}
