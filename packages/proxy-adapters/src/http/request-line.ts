import { CR, LF, SPACE, TARGET, TOKEN } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'
import { isRequestTarget } from './target.ts'

export type HttpVersion = '1.0' | '1.1'

/** A request line that is complete and well formed. */
export interface RequestLine {
  readonly kind: 'request-line'
  readonly method: string
  readonly target: string
  readonly version: HttpVersion
  /** Where the header section starts. */
  readonly next: number
}

const VERSION_LENGTH = 'HTTP/1.1'.length

/**
 * Parses `method SP request-target SP HTTP-version CRLF` (RFC 9112 3) between `start` and `end`.
 * `undefined` when the line is not complete.
 */
export function parseRequestLine(bytes: Buffer, start: number, end: number): RequestLine | Refusal | undefined {
  let at = start
  while (at < end && TOKEN[bytes[at] as number] === 1) at++
  const methodEnd = at
  if (at === end) return undefined
  if (methodEnd === start || bytes[at] !== SPACE) {
    // A lone CR may still become the empty line that is skipped.
    if (end === 1 && bytes[0] === CR) return undefined
    return refuse(400, 'the method is not a token followed by one space')
  }
  at++
  const targetStart = at
  while (at < end && TARGET[bytes[at] as number] === 1) at++
  const targetEnd = at
  if (at === end) return undefined
  if (targetEnd === targetStart || bytes[at] !== SPACE)
    return refuse(400, 'the request target is not visible ASCII followed by one space')
  at++
  const lineEnd = at + VERSION_LENGTH
  while (at < end && at < lineEnd && TARGET[bytes[at] as number] === 1) at++
  if (at < lineEnd) return at === end ? undefined : refuse(400, 'the protocol version is malformed')
  if (lineEnd < end && bytes[lineEnd] !== CR) return refuse(400, 'the request line does not end with CRLF')
  if (lineEnd + 1 >= end) return undefined
  if (bytes[lineEnd + 1] !== LF) return refuse(400, 'the request line does not end with CRLF')
  return read(bytes.toString('latin1', start, lineEnd), methodEnd - start, targetEnd - start, lineEnd + 2)
}

function read(text: string, methodEnd: number, targetEnd: number, next: number): RequestLine | Refusal {
  const method = text.slice(0, methodEnd)
  const target = text.slice(methodEnd + 1, targetEnd)
  const protocol = text.slice(targetEnd + 1)
  if (protocol !== 'HTTP/1.1' && protocol !== 'HTTP/1.0') {
    const known = /^HTTP\/[0-9]\.[0-9]$/.test(protocol)
    return known
      ? refuse(505, 'only HTTP/1.0 and HTTP/1.1 are spoken here')
      : refuse(400, 'the protocol version is malformed')
  }
  if (!isRequestTarget(method, target)) return refuse(400, 'the request target has no form that the method allows')
  return { kind: 'request-line', method, target, version: protocol === 'HTTP/1.1' ? '1.1' : '1.0', next }
}
