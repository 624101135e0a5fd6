import { MAXIMUM_SNAPSHOT_LENGTH, snapshotLength, writeSnapshot } from '../codec/snapshot.ts'
import { Writer } from '../codec/writer.ts'
import { CodecError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import {
  type HandoffReference,
  type HelloMessage,
  MAXIMUM_APPLICATION_LENGTH,
  MAXIMUM_HOST_LENGTH,
  MAXIMUM_REPORT_LENGTH,
  MAXIMUM_REQUEST_LENGTH,
  MAXIMUM_TEXT_LENGTH,
  type OfferMessage,
  type OutgoingMessage,
  type OutgoingOffer,
  REFUSE_REASONS,
  REPORT_STATES,
  type ReportMessage,
  type YieldMessage,
} from './messages.ts'
import { tunnelLength, writeTunnel } from './tunnel.ts'
import { FRAME_HEADER_LENGTH, REFERENCE_LENGTH, TYPES } from './wire.ts'

/** The whole frame of a message, in one allocation. Throws {@link CodecError} for a field that is out of range or too long. */
export function encodeMessage(message: OutgoingMessage): Uint8Array {
  switch (message.type) {
    case 'hello':
      return encodeHello(message)
    case 'offer':
      return encodeOffer(message)
    case 'accept': {
      const writer = referenceFrame(TYPES.accept, message, 4)
      writer.u32(message.restoreMicroseconds, 'restore time')
      return writer.finish()
    }
    case 'refuse': {
      const text = encodeText(message.text, MAXIMUM_TEXT_LENGTH, 'text')
      const writer = referenceFrame(TYPES.refuse, message, 3 + text.length)
      writer.u8(REFUSE_REASONS.indexOf(message.reason), 'reason')
      writer.u16(text.length, 'length')
      writer.bytes(text, 'text')
      return writer.finish()
    }
    case 'commit': {
      const writer = referenceFrame(TYPES.commit, message, 1)
      writer.boolean(message.acknowledge, 'acknowledge')
      return writer.finish()
    }
    case 'committed': {
      const writer = referenceFrame(TYPES.committed, message, 4)
      writer.u32(message.adoptMicroseconds, 'adopt time')
      return writer.finish()
    }
    case 'abort':
      return referenceFrame(TYPES.abort, message, 0).finish()
    case 'ended': {
      const writer = referenceFrame(TYPES.ended, message, FlowKey.byteLength)
      writer.bytes(message.flow.bytes, 'flow')
      return writer.finish()
    }
    case 'yield':
      return encodeYield(message)
    case 'recall': {
      const writer = referenceFrame(TYPES.recall, message, FlowKey.byteLength)
      writer.bytes(message.flow.bytes, 'flow')
      return writer.finish()
    }
    case 'take': {
      const writer = referenceFrame(TYPES.take, message, FlowKey.byteLength + REFERENCE_LENGTH)
      writer.bytes(message.flow.bytes, 'flow')
      writeReference(writer, message.connection)
      return writer.finish()
    }
    case 'keep':
      return referenceFrame(TYPES.keep, message, 0).finish()
    case 'release':
      return referenceFrame(TYPES.release, message, 0).finish()
    case 'reset':
      return referenceFrame(TYPES.reset, message, 0).finish()
    case 'audit': {
      const writer = frame(TYPES.audit, 4)
      writer.u32(message.nonce, 'nonce')
      return writer.finish()
    }
    case 'report':
      return encodeReport(message)
    case 'ping':
    case 'pong': {
      const writer = frame(TYPES[message.type], 4)
      writer.u32(message.nonce, 'nonce')
      return writer.finish()
    }
  }
}

function encodeHello({ protocolVersion, host, mac, instance, maximumHandoffs, tunnel }: HelloMessage): Uint8Array {
  const name = encodeText(host, MAXIMUM_HOST_LENGTH, 'host')
  if (name.length === 0) throw new CodecError('host is empty')
  const writer = frame(TYPES.hello, 2 + 2 + name.length + 6 + 8 + 4 + tunnelLength(tunnel))
  writer.u16(protocolVersion, 'protocol version')
  writer.u16(name.length, 'length')
  writer.bytes(name, 'host')
  writer.bytes(mac.bytes, 'MAC address')
  writer.u64(instance, 'instance')
  writer.u32(maximumHandoffs, 'maximum number of handoffs')
  writeTunnel(writer, tunnel)
  return writer.finish()
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
  const writer = referenceFrame(TYPES.offer, message, 4 + length + 4 + application.length)
  writer.u32(length, 'length')
  if (snapshot instanceof Uint8Array) writer.bytes(snapshot, 'snapshot')
  else writeSnapshot(writer, snapshot)
  writer.u32(application.length, 'length')
  writer.bytes(application, 'application')
  return writer.finish()
}

function encodeYield(message: YieldMessage): Uint8Array {
  const { request } = message
  if (request.length > MAXIMUM_REQUEST_LENGTH) {
    throw new CodecError(`request has ${request.length} bytes: at most ${MAXIMUM_REQUEST_LENGTH} are allowed`)
  }
  const writer = referenceFrame(TYPES.yield, message, FlowKey.byteLength + 1 + 4 + request.length)
  writer.bytes(message.flow.bytes, 'flow')
  writer.boolean(message.responding, 'responding')
  writer.u32(request.length, 'length')
  writer.bytes(request, 'request')
  return writer.finish()
}

function encodeReport({ nonce, last, connections }: ReportMessage): Uint8Array {
  if (connections.length > MAXIMUM_REPORT_LENGTH) {
    throw new CodecError(`a report has ${connections.length} connections: at most ${MAXIMUM_REPORT_LENGTH} are allowed`)
  }
  const length = connections.reduce((sum, { connection }) => sum + reportedLength(connection), 0)
  const writer = frame(TYPES.report, 4 + 1 + 2 + length)
  writer.u32(nonce, 'nonce')
  writer.boolean(last, 'last')
  writer.u16(connections.length, 'number of connections')
  for (const reported of connections) {
    writer.bytes(reported.flow.bytes, 'flow')
    writeReference(writer, reported)
    writer.u8(REPORT_STATES.indexOf(reported.state), 'state')
    writer.boolean(reported.connection !== undefined, 'further reference')
    if (reported.connection) writeReference(writer, reported.connection)
  }
  return writer.finish()
}

function reportedLength(connection: HandoffReference | undefined): number {
  return FlowKey.byteLength + REFERENCE_LENGTH + 2 + (connection ? REFERENCE_LENGTH : 0)
}

function writeReference(writer: Writer, { handoff, epoch }: HandoffReference): void {
  writer.safeInteger(handoff, 'handoff')
  writer.u32(epoch, 'epoch')
}

function frame(type: number, fieldsLength: number): Writer {
  const writer = new Writer(FRAME_HEADER_LENGTH + fieldsLength)
  writer.u32(fieldsLength + 1, 'frame length')
  writer.u8(type, 'type')
  return writer
}

function referenceFrame(type: number, reference: HandoffReference, more: number): Writer {
  const writer = frame(type, REFERENCE_LENGTH + more)
  writeReference(writer, reference)
  return writer
}

const utf8 = new TextEncoder()

function encodeText(text: string, maximum: number, field: string): Uint8Array {
  const bytes = utf8.encode(text)
  if (bytes.length > maximum) throw new CodecError(`${field} has ${bytes.length} bytes: at most ${maximum} are allowed`)
  return bytes
}
