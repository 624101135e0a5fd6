import { Reader } from '../codec/reader.ts'
import { MAXIMUM_SNAPSHOT_LENGTH, snapshotLength, writeSnapshot } from '../codec/snapshot.ts'
import { Writer } from '../codec/writer.ts'
import { CodecError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import { MacAddress } from '../mac.ts'
import {
  type HelloMessage,
  MAXIMUM_APPLICATION_LENGTH,
  MAXIMUM_HOST_LENGTH,
  MAXIMUM_TEXT_LENGTH,
  type Message,
  type OfferMessage,
  type OutgoingMessage,
  type OutgoingOffer,
  PROTOCOL_VERSION,
  REFUSE_REASONS,
} from './messages.ts'

/** A frame: the number of bytes that follow (u32), the type (u8), the fields of the message; big-endian. */
export const FRAME_HEADER_LENGTH = 5

const HELLO = 1
const OFFER = 2
const ACCEPT = 3
const REFUSE = 4
const COMMIT = 5
const COMMITTED = 6
const ABORT = 7
const ENDED = 8
const PING = 9
const PONG = 10

/** handoff (u64) and epoch (u32). */
const REFERENCE_LENGTH = 12

/** The longest `fields` part of any message but an offer. */
const MAXIMUM_SMALL_LENGTH = REFERENCE_LENGTH + 1 + 2 + MAXIMUM_TEXT_LENGTH
/** The longest `fields` part of an offer. */
const MAXIMUM_OFFER_LENGTH = REFERENCE_LENGTH + 4 + MAXIMUM_SNAPSHOT_LENGTH + 4 + MAXIMUM_APPLICATION_LENGTH

/** The most that may follow the header of a frame of this type. Throws {@link CodecError} for an unknown type. */
export function maximumFieldsLength(type: number): number {
  if (type < HELLO || type > PONG) throw new CodecError(`unknown message type ${type}`)
  return type === OFFER ? MAXIMUM_OFFER_LENGTH : MAXIMUM_SMALL_LENGTH
}

/** The whole frame of a message, in one allocation. Throws {@link CodecError} for a field that is out of range or too long. */
export function encodeMessage(message: OutgoingMessage): Uint8Array {
  switch (message.type) {
    case 'hello':
      return encodeHello(message)
    case 'offer':
      return encodeOffer(message)
    case 'accept': {
      const writer = referenceFrame(ACCEPT, message, 4)
      writer.u32(message.restoreMicroseconds, 'restore time')
      return writer.finish()
    }
    case 'refuse': {
      const text = encodeText(message.text, MAXIMUM_TEXT_LENGTH, 'text')
      const writer = referenceFrame(REFUSE, message, 3 + text.length)
      writer.u8(REFUSE_REASONS.indexOf(message.reason), 'reason')
      writer.u16(text.length, 'length')
      writer.bytes(text, 'text')
      return writer.finish()
    }
    case 'commit': {
      const writer = referenceFrame(COMMIT, message, 1)
      writer.boolean(message.acknowledge, 'acknowledge')
      return writer.finish()
    }
    case 'committed': {
      const writer = referenceFrame(COMMITTED, message, 4)
      writer.u32(message.adoptMicroseconds, 'adopt time')
      return writer.finish()
    }
    case 'abort':
      return referenceFrame(ABORT, message, 0).finish()
    case 'ended': {
      const writer = referenceFrame(ENDED, message, FlowKey.byteLength)
      writer.bytes(message.flow.bytes, 'flow')
      return writer.finish()
    }
    case 'ping':
    case 'pong': {
      const writer = frame(message.type === 'ping' ? PING : PONG, 4)
      writer.u32(message.nonce, 'nonce')
      return writer.finish()
    }
  }
}

/** Decodes the `fields` part of one frame. Byte fields of the result are copies. Throws {@link CodecError}. */
export function decodeFields(type: number, fields: Uint8Array): Message {
  const reader = new Reader(fields)
  const message = readMessage(type, reader)
  reader.end(`message "${message.type}"`)
  return message
}

function readMessage(type: number, reader: Reader): Message {
  switch (type) {
    case HELLO:
      return readHello(reader)
    case PING:
      return { type: 'ping', nonce: reader.u32('nonce') }
    case PONG:
      return { type: 'pong', nonce: reader.u32('nonce') }
  }
  const handoff = reader.safeInteger('handoff')
  const epoch = reader.u32('epoch')
  switch (type) {
    case OFFER:
      return readOffer(reader, handoff, epoch)
    case ACCEPT:
      return { type: 'accept', handoff, epoch, restoreMicroseconds: reader.u32('restore time') }
    case REFUSE: {
      const code = reader.u8('reason')
      const reason = REFUSE_REASONS[code]
      if (reason === undefined) throw new CodecError(`unknown reason ${code} of a refusal`)
      return { type: 'refuse', handoff, epoch, reason, text: reader.text(MAXIMUM_TEXT_LENGTH, 'text') }
    }
    case COMMIT:
      return { type: 'commit', handoff, epoch, acknowledge: reader.boolean('acknowledge') }
    case COMMITTED:
      return { type: 'committed', handoff, epoch, adoptMicroseconds: reader.u32('adopt time') }
    case ABORT:
      return { type: 'abort', handoff, epoch }
    case ENDED:
      return { type: 'ended', handoff, epoch, flow: FlowKey.from(reader.bytes(FlowKey.byteLength, 'flow')) }
  }
  throw new CodecError(`unknown message type ${type}`)
}

function encodeHello({ protocolVersion, host, mac, instance, maximumHandoffs }: HelloMessage): Uint8Array {
  const name = encodeText(host, MAXIMUM_HOST_LENGTH, 'host')
  if (name.length === 0) throw new CodecError('host is empty')
  const writer = frame(HELLO, 2 + 2 + name.length + 6 + 8 + 4)
  writer.u16(protocolVersion, 'protocol version')
  writer.u16(name.length, 'length')
  writer.bytes(name, 'host')
  writer.bytes(mac.bytes, 'MAC address')
  writer.u64(instance, 'instance')
  writer.u32(maximumHandoffs, 'maximum number of handoffs')
  return writer.finish()
}

function readHello(reader: Reader): HelloMessage {
  const protocolVersion = reader.u16('protocol version')
  // What follows is only known for this version.
  if (protocolVersion !== PROTOCOL_VERSION) {
    throw new CodecError(
      `the peer speaks protocol version ${protocolVersion}, this program ${PROTOCOL_VERSION}: update the older one`,
    )
  }
  const host = reader.text(MAXIMUM_HOST_LENGTH, 'host')
  if (host.length === 0) throw new CodecError('host is empty')
  return {
    type: 'hello',
    protocolVersion,
    host,
    mac: MacAddress.from(reader.bytes(6, 'MAC address')),
    instance: reader.u64('instance'),
    maximumHandoffs: reader.u32('maximum number of handoffs'),
  }
}

function encodeOffer(message: OfferMessage | OutgoingOffer): Uint8Array {
  const { snapshot, application } = message
  if (application.length > MAXIMUM_APPLICATION_LENGTH) {
    throw new CodecError(
      `application has ${application.length} bytes: at most ${MAXIMUM_APPLICATION_LENGTH} are allowed`,
    )
  }
  const length = snapshot instanceof Uint8Array ? snapshot.length : snapshotLength(snapshot)
  if (length > MAXIMUM_SNAPSHOT_LENGTH) {
    throw new CodecError(`snapshot has ${length} bytes: at most ${MAXIMUM_SNAPSHOT_LENGTH} are allowed`)
  }
  const writer = referenceFrame(OFFER, message, 4 + length + 4 + application.length)
  writer.u32(length, 'length')
  if (snapshot instanceof Uint8Array) writer.bytes(snapshot, 'snapshot')
  else writeSnapshot(writer, snapshot)
  writer.u32(application.length, 'length')
  writer.bytes(application, 'application')
  return writer.finish()
}

function readOffer(reader: Reader, handoff: number, epoch: number): OfferMessage {
  const snapshot = reader.bytes(reader.length(MAXIMUM_SNAPSHOT_LENGTH, 'snapshot'), 'snapshot').slice()
  const application = reader.bytes(reader.length(MAXIMUM_APPLICATION_LENGTH, 'application'), 'application').slice()
  return { type: 'offer', handoff, epoch, snapshot, application }
}

function frame(type: number, fieldsLength: number): Writer {
  const writer = new Writer(FRAME_HEADER_LENGTH + fieldsLength)
  writer.u32(fieldsLength + 1, 'frame length')
  writer.u8(type, 'type')
  return writer
}

function referenceFrame(type: number, reference: { handoff: number; epoch: number }, more: number): Writer {
  const writer = frame(type, REFERENCE_LENGTH + more)
  writer.safeInteger(reference.handoff, 'handoff')
  writer.u32(reference.epoch, 'epoch')
  return writer
}

const utf8 = new TextEncoder()

function encodeText(text: string, maximum: number, field: string): Uint8Array {
  const bytes = utf8.encode(text)
  if (bytes.length > maximum) throw new CodecError(`${field} has ${bytes.length} bytes: at most ${maximum} are allowed`)
  return bytes
}
