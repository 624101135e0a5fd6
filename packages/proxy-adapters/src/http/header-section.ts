import { COLON, CR, FIELD_VALUE, LF, SPACE, TAB, TOKEN } from './characters.ts'
import { type Refusal, refuse } from './errors.ts'
import { type BodyFraming, Framing } from './framing.ts'
import { HeaderList } from './headers.ts'
import type { HttpVersion } from './request-line.ts'

/** A complete header section and what it says about the message and the connection. */
export interface HeaderSection {
  readonly kind: 'header-section'
  readonly version: HttpVersion
  /** From the byte behind the request line to the empty line, both included. */
  readonly length: number
  readonly headers: HeaderList
  readonly bodyFraming: BodyFraming
  readonly keepAlive: boolean
  readonly expectContinue: boolean
}

/** Parses the header section between `start` and `end`. `undefined` when it is not complete. */
export function parseHeaderSection(
  bytes: Buffer,
  start: number,
  end: number,
  version: HttpVersion,
  headerCount: number,
): HeaderSection | Refusal | undefined {
  const offsets: number[] = []
  const next = scanFields(bytes, start, end, headerCount, offsets)
  if (next === undefined || typeof next === 'object') return next
  const text = bytes.toString('latin1', start, next)
  const framing = new Framing(version)
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
  return { kind: 'header-section', version, length: next - start, headers, bodyFraming, keepAlive, expectContinue }
}

/** Collects the offsets of all fields, counted from `start`. Returns where the body starts, `undefined` when the section is not complete. */
function scanFields(
  bytes: Buffer,
  start: number,
  end: number,
  headerCount: number,
  offsets: number[],
): number | Refusal | undefined {
  let at = start
  for (let count = 0; at < end; count++) {
    if (bytes[at] === CR) {
      if (at + 1 === end) return undefined
      return bytes[at + 1] === LF ? at + 2 : refuse(400, 'a bare CR stands in the header section')
    }
    if (count === headerCount) return refuse(431, 'the request head has more header fields than the limit')
    const nameStart = at
    while (at < end && TOKEN[bytes[at] as number] === 1) at++
    if (at === end) return undefined
    if (at === nameStart || bytes[at] !== COLON) return refuse(400, 'a header line is not a token followed by a colon')
    const nameEnd = at++
    while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at++
    const valueStart = at
    while (at < end && FIELD_VALUE[bytes[at] as number] === 1) at++
    if (at === end) return undefined
    if (bytes[at] !== CR) return refuse(400, 'a header value contains a control character')
    if (at + 1 === end) return undefined
    if (bytes[at + 1] !== LF) return refuse(400, 'a header line does not end with CRLF')
    let valueEnd = at
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd--
    offsets.push(nameStart - start, nameEnd - start, valueStart - start, valueEnd - start)
    at += 2
  }
  return undefined
}

/** Larger header sections are not remembered: the memory is there once for every open connection. */
const REMEMBERED_SIZE = 1024

/** The last header section of a connection: most clients repeat it byte for byte and change only the request line. */
export class SectionMemory {
  #bytes: Buffer | undefined
  #section: HeaderSection | undefined

  /** The remembered section, when exactly that stands at `start`. */
  recall(bytes: Buffer, start: number, end: number, version: HttpVersion): HeaderSection | undefined {
    const known = this.#bytes
    if (known === undefined || start + known.length > end || this.#section?.version !== version) return undefined
    // A complete section ends with an empty line and has none inside, so equal bytes are the whole section.
    return bytes.compare(known, 0, known.length, start, start + known.length) === 0 ? this.#section : undefined
  }

  remember(bytes: Buffer, start: number, section: HeaderSection): void {
    if (section.length > REMEMBERED_SIZE) return
    // A copy: a view would keep the whole chunk that was received.
    this.#bytes = Buffer.from(bytes.subarray(start, start + section.length))
    this.#section = section
  }
}
