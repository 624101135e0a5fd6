import { CodecError, Reader, Writer } from '@xoffload/core'
import { MAXIMUM_STATE_LENGTH } from './resumable.ts'
import type { StreamFraming } from './stream-sender.ts'

/** A response whose head and the first part of whose body have been sent: what another server needs to send the rest. */
export interface InterruptedResponse {
  /** What the handler gave to `resumable`. */
  readonly state: Uint8Array
  /** Bytes of the body that have been sent. */
  readonly offset: number
  /** How the end of the body is marked. `contentLength` is that of the whole body. */
  readonly framing: StreamFraming
  /** Whether the connection serves further requests after it. */
  readonly keepAlive: boolean
}

/** In the encoding, the index is the number of the framing. */
const FRAMINGS = ['length', 'chunked', 'close'] as const
const VERSION = 1
const HEADER_LENGTH = 23
/** The most that a Content-Length of 15 digits says. */
const MAXIMUM_CONTENT_LENGTH = 999_999_999_999_999

/** The number of bytes of the longest encoding. */
export const MAXIMUM_INTERRUPTED_RESPONSE_LENGTH = HEADER_LENGTH + MAXIMUM_STATE_LENGTH

/**
 * Makes bytes of it, big-endian: version (u8), framing (u8), keep-alive (u8), offset (u64), content length (u64, 0 when the framing is
 * another), length of the state (u32), state. One response has exactly one encoding. Throws CodecError for a value out of its range.
 */
export function encodeInterruptedResponse(response: InterruptedResponse): Uint8Array {
  const { state, offset, framing, keepAlive } = response
  check(response)
  const writer = new Writer(HEADER_LENGTH + state.length)
  writer.u8(VERSION, 'version')
  writer.u8(FRAMINGS.indexOf(framing.kind), 'framing')
  writer.boolean(keepAlive, 'keep-alive')
  writer.safeInteger(offset, 'offset')
  writer.safeInteger(framing.kind === 'length' ? framing.contentLength : 0, 'content length')
  writer.u32(state.length, 'state')
  writer.bytes(state, 'state')
  return writer.finish()
}

/** The inverse, for bytes that came over the network. Throws CodecError for everything that {@link encodeInterruptedResponse} does not make. */
export function decodeInterruptedResponse(bytes: Uint8Array): InterruptedResponse {
  const reader = new Reader(bytes)
  const version = reader.u8('version')
  if (version !== VERSION) throw new CodecError(`version ${version} of an interrupted response is not known here`)
  const kind = FRAMINGS[reader.u8('framing')]
  const keepAlive = reader.boolean('keep-alive')
  const offset = reader.safeInteger('offset')
  const contentLength = reader.safeInteger('content length')
  const state = reader.bytes(reader.length(MAXIMUM_STATE_LENGTH, 'state'), 'state').slice()
  reader.end('the interrupted response')
  if (kind === undefined) throw new CodecError('the framing of an interrupted response is not known here')
  if (kind !== 'length' && contentLength !== 0) throw new CodecError(`the framing ${kind} has no content length`)
  const response = { state, offset, framing: kind === 'length' ? { kind, contentLength } : { kind }, keepAlive }
  check(response)
  return response
}

function check({ state, offset, framing, keepAlive }: InterruptedResponse): void {
  if (state.length > MAXIMUM_STATE_LENGTH)
    throw new CodecError(`the state has ${state.length} bytes: at most ${MAXIMUM_STATE_LENGTH} are allowed`)
  if (framing.kind === 'length') {
    const { contentLength } = framing
    if (contentLength > MAXIMUM_CONTENT_LENGTH) throw new CodecError(`content length ${contentLength} is too large`)
    if (offset >= contentLength) throw new CodecError(`offset ${offset} is not within ${contentLength} bytes`)
  }
  if (framing.kind === 'close' && keepAlive)
    throw new CodecError('a body that ends with the connection cannot keep it alive')
}
