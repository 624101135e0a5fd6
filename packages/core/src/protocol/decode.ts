import { Reader } from '../codec/reader.ts'
import { MAXIMUM_SNAPSHOT_LENGTH } from '../codec/snapshot.ts'
import { CodecError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import { MacAddress } from '../mac.ts'
import {
  type HandoffReference,
  type HelloMessage,
  MAXIMUM_APPLICATION_LENGTH,
  MAXIMUM_HOST_LENGTH,
  MAXIMUM_REPORT_LENGTH,
  MAXIMUM_REQUEST_LENGTH,
  MAXIMUM_TEXT_LENGTH,
  type Message,
  type OfferMessage,
  PROTOCOL_VERSION,
  REFUSE_REASONS,
  REPORT_STATES,
  type ReportedConnection,
  type ReportMessage,
} from './messages.ts'
import { readTunnel } from './tunnel.ts'
import { TYPES } from './wire.ts'

/** Decodes the `fields` part of one frame. Byte fields of the result are copies. Throws {@link CodecError}. */
export function decodeFields(type: number, fields: Uint8Array): Message {
  const reader = new Reader(fields)
  const message = readMessage(type, reader)
  reader.end(`message "${message.type}"`)
  return message
}

function readMessage(type: number, reader: Reader): Message {
  switch (type) {
    case TYPES.hello:
      return readHello(reader)
    case TYPES.ping:
      return { type: 'ping', nonce: reader.u32('nonce') }
    case TYPES.pong:
      return { type: 'pong', nonce: reader.u32('nonce') }
    case TYPES.audit:
      return { type: 'audit', nonce: reader.u32('nonce') }
    case TYPES.report:
      return readReport(reader)
  }
  const { handoff, epoch } = readReference(reader)
  switch (type) {
    case TYPES.offer:
      return readOffer(reader, handoff, epoch)
    case TYPES.accept:
      return { type: 'accept', handoff, epoch, restoreMicroseconds: reader.u32('restore time') }
    case TYPES.refuse: {
      const code = reader.u8('reason')
      const reason = REFUSE_REASONS[code]
      if (reason === undefined) throw new CodecError(`unknown reason ${code} of a refusal`)
      return { type: 'refuse', handoff, epoch, reason, text: reader.text(MAXIMUM_TEXT_LENGTH, 'text') }
    }
    case TYPES.commit:
      return { type: 'commit', handoff, epoch, acknowledge: reader.boolean('acknowledge') }
    case TYPES.committed:
      return { type: 'committed', handoff, epoch, adoptMicroseconds: reader.u32('adopt time') }
    case TYPES.abort:
      return { type: 'abort', handoff, epoch }
    case TYPES.ended:
      return { type: 'ended', handoff, epoch, flow: readFlow(reader) }
    case TYPES.yield: {
      const flow = readFlow(reader)
      const responding = reader.boolean('responding')
      const request = reader.bytes(reader.length(MAXIMUM_REQUEST_LENGTH, 'request'), 'request').slice()
      return { type: 'yield', handoff, epoch, flow, responding, request }
    }
    case TYPES.keep:
      return { type: 'keep', handoff, epoch }
    case TYPES.recall:
      return { type: 'recall', handoff, epoch, flow: readFlow(reader) }
    case TYPES.take:
      return { type: 'take', handoff, epoch, flow: readFlow(reader), connection: readReference(reader) }
    case TYPES.release:
      return { type: 'release', handoff, epoch }
    case TYPES.reset:
      return { type: 'reset', handoff, epoch }
  }
  throw new CodecError(`unknown message type ${type}`)
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
  const mac = MacAddress.from(reader.bytes(6, 'MAC address'))
  const instance = reader.u64('instance')
  const maximumHandoffs = reader.u32('maximum number of handoffs')
  const tunnel = readTunnel(reader)
  return { type: 'hello', protocolVersion, host, mac, instance, maximumHandoffs, ...(tunnel && { tunnel }) }
}

function readOffer(reader: Reader, handoff: number, epoch: number): OfferMessage {
  const snapshot = reader.bytes(reader.length(MAXIMUM_SNAPSHOT_LENGTH, 'snapshot'), 'snapshot').slice()
  const application = reader.bytes(reader.length(MAXIMUM_APPLICATION_LENGTH, 'application'), 'application').slice()
  return { type: 'offer', handoff, epoch, snapshot, application }
}

function readReport(reader: Reader): ReportMessage {
  const nonce = reader.u32('nonce')
  const last = reader.boolean('last')
  const length = reader.u16('number of connections')
  if (length > MAXIMUM_REPORT_LENGTH) throw new CodecError(`a report has ${length} connections`)
  const connections: ReportedConnection[] = []
  for (let index = 0; index < length; index += 1) {
    const flow = readFlow(reader)
    const reference = readReference(reader)
    const code = reader.u8('state')
    const state = REPORT_STATES[code]
    if (state === undefined) throw new CodecError(`unknown state ${code} of a connection`)
    const connection = reader.boolean('further reference') ? readReference(reader) : undefined
    connections.push({ flow, ...reference, state, ...(connection && { connection }) })
  }
  return { type: 'report', nonce, last, connections }
}

function readFlow(reader: Reader): FlowKey {
  return FlowKey.from(reader.bytes(FlowKey.byteLength, 'flow'))
}

function readReference(reader: Reader): HandoffReference {
  return { handoff: reader.safeInteger('handoff'), epoch: reader.u32('epoch') }
}
