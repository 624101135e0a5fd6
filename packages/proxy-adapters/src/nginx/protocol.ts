// What the module and this side say to each other: nginx/src/ngx_http_xoffload_protocol.h describes it, and both files must agree.
import { endianness } from 'node:os'
import { NginxError } from './errors.ts'

export const PROTOCOL_VERSION = 1
/** The longest reason of a refusal, bytes. */
const MAXIMUM_REASON_LENGTH = 255

/** Both sides run on one machine: numbers are in its byte order. */
const LITTLE_ENDIAN = endianness() === 'LE'

const WORD_LENGTH = 8
const ANSWER_LENGTH = 16
const OFFER_LENGTH = 32

const BODY = 1
const KEEP_ALIVE = 2

const wordTypes = { 1: 'hello', 2: 'offered' } as const
const answerTypes = { welcome: 16, 'handed-off': 17, refused: 18, failed: 19, lost: 20 } as const

/** What a worker says: that it is there, or that something is in the queue of offers. */
export interface Word {
  readonly type: (typeof wordTypes)[keyof typeof wordTypes]
  /** `hello`: the version. */
  readonly value: number
}

/** Takes words out of a stream. Keeps at most one that is not complete. */
export class WordDecoder {
  #rest: Uint8Array = new Uint8Array(0)

  /** The words that are complete with these bytes. Throws {@link NginxError} (`protocol`) for what no worker says. */
  decode(chunk: Uint8Array): Word[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const words: Word[] = []
    let offset = 0
    for (; offset + WORD_LENGTH <= bytes.length; offset += WORD_LENGTH) {
      const number = view.getUint32(offset, LITTLE_ENDIAN)
      const type = wordTypes[number as keyof typeof wordTypes]
      if (type === undefined) throw new NginxError('protocol', `a worker of nginx said ${number}, which means nothing`)
      words.push({ type, value: view.getUint32(offset + 4, LITTLE_ENDIAN) })
    }
    this.#rest = bytes.slice(offset)
    return words
  }
}

/** The number of an offer, or the version; a reason longer than 255 bytes is cut. */
export function encodeAnswer(type: keyof typeof answerTypes, id: bigint, reason = ''): Uint8Array {
  const text = new Uint8Array(MAXIMUM_REASON_LENGTH)
  // It goes into a log line: no control characters. Never half a character.
  const { written } = new TextEncoder().encodeInto(reason.replaceAll(/\p{Cc}+/gu, ' '), text)
  const bytes = new Uint8Array(ANSWER_LENGTH + written)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, answerTypes[type], LITTLE_ENDIAN)
  view.setUint32(4, written, LITTLE_ENDIAN)
  view.setBigUint64(8, id, LITTLE_ENDIAN)
  bytes.set(text.subarray(0, written), ANSWER_LENGTH)
  return bytes
}

/** A connection that nginx gives, and the request that has come on it. */
export interface Offer {
  readonly id: bigint
  readonly hasBody: boolean
  readonly keepAlive: boolean
  readonly requests: number
  readonly headLength: number
  readonly upstream: string
  readonly server: string
  readonly address: string
  readonly received: Uint8Array
}

/** Throws {@link NginxError} (`protocol`). */
export function decodeOffer(bytes: Uint8Array): Offer {
  if (bytes.length < OFFER_LENGTH) throw wrongOffer(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = view.getUint32(8, LITTLE_ENDIAN)
  const headLength = view.getUint32(16, LITTLE_ENDIAN)
  const lengths = [20, 22, 24].map((offset) => view.getUint16(offset, LITTLE_ENDIAN))
  let end = OFFER_LENGTH
  const [upstream = '', server = '', address = ''] = lengths.map((length) => {
    const start = end
    end += length
    return new TextDecoder().decode(bytes.subarray(start, end))
  })
  if (headLength === 0 || end + headLength > bytes.length) throw wrongOffer(bytes)
  return {
    id: view.getBigUint64(0, LITTLE_ENDIAN),
    hasBody: (flags & BODY) !== 0,
    keepAlive: (flags & KEEP_ALIVE) !== 0,
    requests: view.getUint32(12, LITTLE_ENDIAN),
    headLength,
    upstream,
    server,
    address,
    received: bytes.subarray(end),
  }
}

function wrongOffer(bytes: Uint8Array): NginxError {
  return new NginxError('protocol', `a worker of nginx made an offer of ${bytes.length} bytes that is none`)
}
