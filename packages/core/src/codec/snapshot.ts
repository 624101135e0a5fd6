import { CodecError } from '../errors.ts'
import { FlowKey } from '../flow.ts'
import { MAXIMUM_QUEUE_LENGTH, type NegotiatedOptions, type RepairWindow, type TcpSnapshot } from '../snapshot.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

/**
 * The layout, big-endian: magic (u32), version (u8), flags (u8), maximum segment size (u16), flow (36), window scale of the send
 * and of the receive side (u8, u8), timestamp (u32), the five fields of the repair window (u32 each), sequence of the send queue,
 * length of `sent`, length of `unsent`, sequence of the receive queue, its length (u32 each), then `sent`, `unsent` and the
 * receive queue. A field of an option that was not negotiated is zero. One snapshot has exactly one encoding.
 * Version 2 brought the flag for the client's FIN.
 */
const MAGIC = 0x584f_534e
const VERSION = 2
const HEADER_LENGTH = 90

const WINDOW_SCALE = 1
const SELECTIVE_ACKNOWLEDGEMENT = 2
const TIMESTAMP = 4
const FIN = 8
const ALL_FLAGS = WINDOW_SCALE | SELECTIVE_ACKNOWLEDGEMENT | TIMESTAMP | FIN

/** RFC 7323 section 2.3. */
const MAXIMUM_WINDOW_SCALE = 14
/** The greatest window that RFC 7323 can express. */
const MAXIMUM_WINDOW = 0xffff * 2 ** MAXIMUM_WINDOW_SCALE

/** What is taken of a snapshot. */
export interface SnapshotLimits {
  /** The most that each of the three queues may hold, in bytes. Default and upper bound: {@link MAXIMUM_QUEUE_LENGTH}. */
  readonly maximumQueueLength?: number
}

/** The number of bytes of the longest snapshot that has an encoding. */
export const MAXIMUM_SNAPSHOT_LENGTH = HEADER_LENGTH + 3 * MAXIMUM_QUEUE_LENGTH

/** The number of bytes that {@link encodeSnapshot} makes of it. */
export function snapshotLength(snapshot: TcpSnapshot): number {
  return HEADER_LENGTH + snapshot.send.sent.length + snapshot.send.unsent.length + snapshot.receive.queue.length
}

/** Throws {@link CodecError} for a value out of its range or a queue longer than {@link MAXIMUM_QUEUE_LENGTH}. */
export function encodeSnapshot(snapshot: TcpSnapshot): Uint8Array {
  const writer = new Writer(snapshotLength(snapshot))
  writeSnapshot(writer, snapshot)
  return writer.finish()
}

/** As {@link encodeSnapshot}, into a message that is being written: the queues are copied once. */
export function writeSnapshot(writer: Writer, { flow, options, window, send, receive }: TcpSnapshot): void {
  checkOptions(options)
  checkWindow(window)
  writer.u32(MAGIC, 'magic')
  writer.u8(VERSION, 'version')
  writer.u8(flagsOf(options) | (receive.fin === true ? FIN : 0), 'flags')
  writer.u16(options.maximumSegmentSize, 'maximum segment size')
  writer.bytes(flow.bytes, 'flow')
  writer.u8(options.windowScale?.send ?? 0, 'window scale')
  writer.u8(options.windowScale?.receive ?? 0, 'window scale')
  writer.u32(options.timestamp ?? 0, 'timestamp')
  writer.u32(window.sendLastUpdate, 'last update of the send window')
  writer.u32(window.sendWindow, 'send window')
  writer.u32(window.maximumWindow, 'maximum window')
  writer.u32(window.receiveWindow, 'receive window')
  writer.u32(window.receiveLastUpdate, 'last update of the receive window')
  writer.u32(send.sequence, 'sequence of the send queue')
  writer.u32(checkedLength(send.sent, 'sent'), 'length')
  writer.u32(checkedLength(send.unsent, 'unsent'), 'length')
  writer.u32(receive.sequence, 'sequence of the receive queue')
  writer.u32(checkedLength(receive.queue, 'receive queue'), 'length')
  writer.bytes(send.sent, 'sent')
  writer.bytes(send.unsent, 'unsent')
  writer.bytes(receive.queue, 'receive queue')
}

/**
 * Reads one snapshot that must fill `bytes`. The queues of the result are views of `bytes`, not copies.
 * Throws {@link CodecError} for anything that {@link encodeSnapshot} would not have written.
 */
export function decodeSnapshot(bytes: Uint8Array, limits: SnapshotLimits = {}): TcpSnapshot {
  const maximum = Math.min(limits.maximumQueueLength ?? MAXIMUM_QUEUE_LENGTH, MAXIMUM_QUEUE_LENGTH)
  const reader = new Reader(bytes)
  if (reader.u32('magic') !== MAGIC) throw new CodecError('these bytes are no snapshot')
  const version = reader.u8('version')
  if (version !== VERSION) throw new CodecError(`snapshot of version ${version}: this program reads version ${VERSION}`)
  const flags = reader.u8('flags')
  if ((flags & ~ALL_FLAGS) !== 0) throw new CodecError(`snapshot with unknown flags 0x${flags.toString(16)}`)
  const maximumSegmentSize = reader.u16('maximum segment size')
  const flow = FlowKey.from(reader.bytes(FlowKey.byteLength, 'flow'))
  const options = readOptions(reader, flags, maximumSegmentSize)
  checkOptions(options)
  const window: RepairWindow = {
    sendLastUpdate: reader.u32('last update of the send window'),
    sendWindow: reader.u32('send window'),
    maximumWindow: reader.u32('maximum window'),
    receiveWindow: reader.u32('receive window'),
    receiveLastUpdate: reader.u32('last update of the receive window'),
  }
  checkWindow(window)
  const sendSequence = reader.u32('sequence of the send queue')
  const sentLength = reader.length(maximum, 'sent')
  const unsentLength = reader.length(maximum, 'unsent')
  const receiveSequence = reader.u32('sequence of the receive queue')
  const queueLength = reader.length(maximum, 'receive queue')
  const sent = reader.bytes(sentLength, 'sent')
  const unsent = reader.bytes(unsentLength, 'unsent')
  const queue = reader.bytes(queueLength, 'receive queue')
  reader.end('snapshot')
  return {
    flow,
    options,
    window,
    send: { sequence: sendSequence, sent, unsent },
    receive: { sequence: receiveSequence, queue, ...((flags & FIN) !== 0 && { fin: true }) },
  }
}

/**
 * Whether the origin received bytes, or a FIN, that it had not acknowledged when the snapshot was taken (`rcv_wup` lies before
 * `rcv_nxt`). A restored socket owes the client no acknowledgement, so somebody has to ask for one after the commit.
 */
export function hasUnacknowledgedBytes({ receive, window }: TcpSnapshot): boolean {
  // A FIN takes one sequence number (RFC 9293 section 3.4).
  return (receive.sequence + receive.queue.length + (receive.fin === true ? 1 : 0)) >>> 0 !== window.receiveLastUpdate
}

function flagsOf({ windowScale, selectiveAcknowledgement, timestamp }: NegotiatedOptions): number {
  return (
    (windowScale ? WINDOW_SCALE : 0) |
    (selectiveAcknowledgement ? SELECTIVE_ACKNOWLEDGEMENT : 0) |
    (timestamp === undefined ? 0 : TIMESTAMP)
  )
}

function readOptions(reader: Reader, flags: number, maximumSegmentSize: number): NegotiatedOptions {
  const send = reader.u8('window scale')
  const receive = reader.u8('window scale')
  const timestamp = reader.u32('timestamp')
  const scaled = (flags & WINDOW_SCALE) !== 0
  const stamped = (flags & TIMESTAMP) !== 0
  if (!scaled && (send !== 0 || receive !== 0)) throw new CodecError('a window scale that was not negotiated')
  if (!stamped && timestamp !== 0) throw new CodecError('a timestamp that was not negotiated')
  return {
    maximumSegmentSize,
    selectiveAcknowledgement: (flags & SELECTIVE_ACKNOWLEDGEMENT) !== 0,
    ...(scaled ? { windowScale: { send, receive } } : {}),
    ...(stamped ? { timestamp } : {}),
  }
}

function checkOptions({ maximumSegmentSize, windowScale }: NegotiatedOptions): void {
  if (!(maximumSegmentSize >= 1 && maximumSegmentSize <= 0xffff)) {
    throw new CodecError(`maximum segment size ${maximumSegmentSize}: 1 to 65535 is expected`)
  }
  if (windowScale && (windowScale.send > MAXIMUM_WINDOW_SCALE || windowScale.receive > MAXIMUM_WINDOW_SCALE)) {
    throw new CodecError(`window scale ${windowScale.send}, ${windowScale.receive}: 0 to 14 is expected (RFC 7323)`)
  }
}

/** The kernel refuses a maximum below the current window too (`tcp_repair_set_window`, net/ipv4/tcp.c). */
function checkWindow({ sendWindow, maximumWindow, receiveWindow }: RepairWindow): void {
  if (maximumWindow > MAXIMUM_WINDOW || receiveWindow > MAXIMUM_WINDOW) {
    throw new CodecError(
      `window ${Math.max(maximumWindow, receiveWindow)}: at most ${MAXIMUM_WINDOW} is possible (RFC 7323)`,
    )
  }
  if (sendWindow > maximumWindow)
    throw new CodecError(`send window ${sendWindow} above the maximum of ${maximumWindow}`)
}

function checkedLength(queue: Uint8Array, field: string): number {
  if (queue.length > MAXIMUM_QUEUE_LENGTH) {
    throw new CodecError(`${field} has ${queue.length} bytes: at most ${MAXIMUM_QUEUE_LENGTH} are allowed`)
  }
  return queue.length
}
