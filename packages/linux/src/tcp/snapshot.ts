import { type FlowKey, MAXIMUM_QUEUE_LENGTH, type NegotiatedOptions, type TcpSnapshot } from '@xoffload/core'
import { EINVAL } from '../errno.ts'
import { lastErrno, libc } from '../ffi/libc.ts'
import { IPPROTO_TCP, MSG_DONTWAIT, MSG_OOB, MSG_PEEK } from '../socket/constants.ts'
import { getOption } from '../socket/options.ts'
import { flowOf, unacknowledgedBytes, unreadBytes } from '../socket/socket.ts'
import { TCP_MAXSEG, TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE, TCP_TIMESTAMP } from './constants.ts'
import { UnsettledConnectionError, UnsupportedConnectionError } from './errors.ts'
import { type TcpInfo, type TcpState, tcpInfo } from './info.ts'
import { chooseQueue, peekQueue, queueEnd } from './queue.ts'
import { getRepairWindow } from './window.ts'

export interface SnapshotOptions {
  /** Bytes that the application has read already and that the next one shall read again, before everything else. */
  readonly putBack?: Uint8Array
}

const MAXIMUM_ATTEMPTS = 4
const empty = new Uint8Array(0)

/**
 * Takes the snapshot of a frozen socket. The socket is not changed: after {@link thaw} it works on.
 *
 * ECN, the congestion window, the measured round-trip time and the urgent pointer of sent data have no place in the kernel's repair
 * interface and are not carried. TCP-MD5 and TCP-AO are not detected: who sets such keys must not move the connection.
 *
 * Throws {@link UnsupportedConnectionError} for a connection that cannot be moved, {@link UnsettledConnectionError} when packets
 * keep changing it, {@link LinuxError} (`EPERM` when the socket is not frozen).
 */
export function takeSnapshot(fd: number, options?: SnapshotOptions): TcpSnapshot {
  return takeSnapshotWithProgress(fd, options).snapshot
}

/** The same, with where the socket stood at that moment, for {@link verifyProgress}. */
export function takeSnapshotWithProgress(
  fd: number,
  { putBack = empty }: SnapshotOptions = {},
): { snapshot: TcpSnapshot; progress: SocketProgress } {
  const info = tcpInfo(fd)
  hasFin(info.state)
  const flow = flowOf(fd)
  refuseLinkLocal(flow)
  refuseUrgentData(fd)
  const { progress, ...queues } = readQueues(fd, putBack, info)
  const options: NegotiatedOptions = {
    // Outside repair mode this would be the current segment size, which is smaller and would shrink at every move.
    maximumSegmentSize: getOption(fd, IPPROTO_TCP, TCP_MAXSEG, 'getsockopt(TCP_MAXSEG)'),
    ...(info.windowScale !== undefined && { windowScale: info.windowScale }),
    selectiveAcknowledgement: info.selectiveAcknowledgement,
    ...(info.timestamps && { timestamp: getOption(fd, IPPROTO_TCP, TCP_TIMESTAMP, 'getsockopt(TCP_TIMESTAMP)') >>> 0 }),
  }
  return { snapshot: { flow, options, ...queues }, progress }
}

/**
 * To be called once nothing that the frozen socket says leaves this host: from here on the kernel sends, within the client's window and the
 * congestion window, instead of counting all that there is as sent ({@link takeSnapshot} leaves it in that mode, as what is said
 * before would be stored with the lock and be heard after the target). Throws {@link LinuxError}.
 */
export function stopPretending(fd: number): void {
  chooseQueue(fd, TCP_NO_QUEUE)
}

/** What a packet of the client changes in a frozen socket. That the application reads changes nothing of it. */
export interface SocketProgress extends Pick<TcpInfo, 'state' | 'acknowledged' | 'received'> {
  /** Bytes: a window update may be all that a packet says. */
  readonly sendWindow: number
  /** Bytes in `send.unsent` of the snapshot. */
  readonly unsent: number
}

/**
 * Throws {@link UnsettledConnectionError} when the frozen socket does not stand where it stood: a packet that had passed the lock before it
 * was there has arrived late. Throws {@link LinuxError}.
 */
export function verifyProgress(fd: number, { state, acknowledged, received, sendWindow }: SocketProgress): void {
  const now = tcpInfo(fd)
  const moved =
    now.state !== state ||
    now.acknowledged !== acknowledged ||
    now.received !== received ||
    getRepairWindow(fd).sendWindow !== sendWindow
  if (moved) throw new UnsettledConnectionError(1)
}

type Queues = Pick<TcpSnapshot, 'window' | 'send' | 'receive'> & { readonly progress: SocketProgress }

function readQueues(fd: number, putBack: Uint8Array, frozen: TcpInfo): Queues {
  let { state } = frozen
  try {
    for (let attempt = 0; attempt < MAXIMUM_ATTEMPTS; attempt++) {
      const queues = tryReadQueues(fd, putBack, frozen, state)
      if (queues !== undefined) return queues
      state = tcpInfo(fd).state
    }
    throw new UnsettledConnectionError(MAXIMUM_ATTEMPTS)
  } catch (error) {
    stopPretending(fd)
    throw error
  }
}

/**
 * Returns `undefined` when a packet that was still in flight in the kernel moved something meanwhile. Leaves the send queue chosen:
 * with any other, a frozen socket goes on sending what is in it when a timer (pacing, TCP small queues) fires. With the send queue
 * chosen the kernel only pretends to send (tcp_write_xmit in net/ipv4/tcp_output.c). What it pretended to send between `frozen` and
 * the end is unsent.
 */
function tryReadQueues(fd: number, putBack: Uint8Array, frozen: TcpInfo, state: TcpState): Queues | undefined {
  const fin = hasFin(state)
  chooseQueue(fd, TCP_RECV_QUEUE)
  // The length first: a packet that arrives after it shows below, as more bytes than that. The other way round, one that arrives in
  // between would be in the length and not in the sequence number, and nothing would show it.
  const receiveLength = unreadBytes(fd)
  // A FIN takes one sequence number, and is in `rcv_nxt` but not in the length.
  const receiveEnd = queueEnd(fd) - (fin ? 1 : 0)
  refuseLongQueue('receive', receiveLength + putBack.length)
  const receiveQueue = receiveLength === 0 ? empty : peekQueue(fd, receiveLength, 1)

  chooseQueue(fd, TCP_SEND_QUEUE)
  const sendEnd = queueEnd(fd)
  const sendLength = unacknowledgedBytes(fd)
  refuseLongQueue('send', sendLength)
  // When the client acknowledged a part of the oldest segment, the kernel still has the whole segment: hence room for one more.
  const sendQueue = sendLength === 0 ? empty : peekQueue(fd, sendLength, 64 * 1024 + 1)

  const window = getRepairWindow(fd)
  const now = tcpInfo(fd)
  const moved =
    now.state !== state ||
    sendQueue === undefined ||
    receiveQueue === undefined ||
    unreadBytes(fd) !== receiveLength ||
    unacknowledgedBytes(fd) !== sendLength
  if (moved) return undefined

  const pretended = frozen.notSent - now.notSent - (now.sentOnce - frozen.sentOnce)
  const sentLength = sendLength - now.notSent - pretended
  return {
    progress: {
      state: now.state,
      acknowledged: now.acknowledged,
      received: now.received,
      sendWindow: window.sendWindow,
      unsent: sendLength - sentLength,
    },
    window,
    send: {
      sequence: (sendEnd - sendLength) >>> 0,
      sent: sendQueue.subarray(0, sentLength),
      unsent: sendQueue.subarray(sentLength),
    },
    receive: {
      sequence: (receiveEnd - receiveLength - putBack.length) >>> 0,
      queue: concatenate(putBack, receiveQueue),
      ...(fin && { fin }),
    },
  }
}

/** Whether the client has sent its FIN. Throws {@link UnsupportedConnectionError} for a state that cannot be restored. */
function hasFin(state: TcpState): boolean {
  if (state === 'ESTABLISHED' || state === 'CLOSE_WAIT') return state === 'CLOSE_WAIT'
  throw new UnsupportedConnectionError(
    'state',
    `the connection is in state ${state}: only an ESTABLISHED one, or one in CLOSE_WAIT, can be moved`,
  )
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second
  const bytes = new Uint8Array(first.length + second.length)
  bytes.set(first)
  bytes.set(second, first.length)
  return bytes
}

function refuseLongQueue(name: string, length: number): void {
  if (length <= MAXIMUM_QUEUE_LENGTH) return
  throw new UnsupportedConnectionError(
    'queue-length',
    `the ${name} queue has ${length} bytes, at most ${MAXIMUM_QUEUE_LENGTH} can be moved: let it drain first`,
  )
}

function refuseLinkLocal(flow: FlowKey): void {
  if (flow.family === 4 || flow.bytes[0] !== 0xfe || ((flow.bytes[1] as number) & 0xc0) !== 0x80) return
  throw new UnsupportedConnectionError(
    'link-local',
    `${flow} has link-local addresses, which mean nothing on another host`,
  )
}

const urgentByte = new Uint8Array(1)

function refuseUrgentData(fd: number): void {
  // EINVAL is the kernel's word for "no urgent data": a byte, or EAGAIN for one that was announced, means there is some.
  if (Number(libc.recv(fd, urgentByte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT)) < 0 && lastErrno() === EINVAL) return
  throw new UnsupportedConnectionError(
    'urgent-data',
    'the connection has unread urgent data, which cannot be moved: read it first',
  )
}
