import { MAXIMUM_SNAPSHOT_LENGTH } from '../codec/snapshot.ts'
import { CodecError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import {
  MAXIMUM_APPLICATION_LENGTH,
  MAXIMUM_REPORT_LENGTH,
  MAXIMUM_REQUEST_LENGTH,
  MAXIMUM_TEXT_LENGTH,
} from './messages.ts'

/** A frame: the number of bytes that follow (u32), the type (u8), the fields of the message; big-endian. */
export const FRAME_HEADER_LENGTH = 5

/** The number of each type of message on the wire. */
export const TYPES = {
  hello: 1,
  offer: 2,
  accept: 3,
  refuse: 4,
  commit: 5,
  committed: 6,
  abort: 7,
  ended: 8,
  ping: 9,
  pong: 10,
  yield: 11,
  keep: 12,
  recall: 13,
  take: 14,
  release: 15,
  reset: 16,
  audit: 17,
  report: 18,
} as const

/** handoff (u64) and epoch (u32). */
export const REFERENCE_LENGTH = 12

/** The longest connection in a report: flow, reference, state, whether another reference follows (u8), and that reference. */
const MAXIMUM_REPORTED_LENGTH = FlowKey.byteLength + REFERENCE_LENGTH + 1 + 1 + REFERENCE_LENGTH

/** The longest `fields` part of any message but those that follow. */
const MAXIMUM_SMALL_LENGTH = REFERENCE_LENGTH + 1 + 2 + MAXIMUM_TEXT_LENGTH
const MAXIMUM_YIELD_LENGTH = REFERENCE_LENGTH + FlowKey.byteLength + 1 + 4 + MAXIMUM_REQUEST_LENGTH
const MAXIMUM_REPORT_FIELDS_LENGTH = 4 + 1 + 2 + MAXIMUM_REPORT_LENGTH * MAXIMUM_REPORTED_LENGTH
/** The longest `fields` part of an offer. */
const MAXIMUM_OFFER_LENGTH = REFERENCE_LENGTH + 4 + MAXIMUM_SNAPSHOT_LENGTH + 4 + MAXIMUM_APPLICATION_LENGTH

/** The most that may follow the header of a frame of this type. Throws {@link CodecError} for an unknown type. */
export function maximumFieldsLength(type: number): number {
  if (type < TYPES.hello || type > TYPES.report) throw new CodecError(`unknown message type ${type}`)
  if (type === TYPES.offer) return MAXIMUM_OFFER_LENGTH
  if (type === TYPES.yield) return MAXIMUM_YIELD_LENGTH
  return type === TYPES.report ? MAXIMUM_REPORT_FIELDS_LENGTH : MAXIMUM_SMALL_LENGTH
}
