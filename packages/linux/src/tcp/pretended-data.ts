import { FlowKey } from '@xoffload/core'
import { IPPROTO_TCP } from '../socket/constants.ts'
import { getOption } from '../socket/options.ts'
import { flowOf, unacknowledgedBytes } from '../socket/socket.ts'
import { TCP_RECV_QUEUE, TCP_SEND_QUEUE, TCP_TIMESTAMP } from './constants.ts'
import { tcpInfo } from './info.ts'
import { chooseQueue, peekQueue, queueEnd } from './queue.ts'
import { receiveSegment } from './receive-segment.ts'
import { encodeSegment } from './segment.ts'
import type { SocketProgress } from './snapshot.ts'
import { getRepairWindow } from './window.ts'

/** What a frozen socket has pretended to send, see {@link takePretendedData}. */
export interface PretendedData {
  readonly flow: FlowKey
  /** Of the first byte. */
  readonly sequence: number
  readonly bytes: Uint8Array
  /** Bytes of data in a segment. */
  readonly segmentSize: number
  readonly acknowledgement: number
  /** In units of the window scale. */
  readonly window: number
  /** Whether segments of this connection have timestamps. */
  readonly timestamps: boolean
}

/**
 * Looks for what the kernel has pretended to send while a socket was frozen: a packet that had passed the lock makes room in the congestion
 * window, and with the send queue chosen the bytes that fit count as sent and go nowhere (tcp_write_xmit in net/ipv4/tcp_output.c).
 * Should the connection go on here, they cost a retransmission timeout.
 *
 * @param fd A frozen socket whose flow is locked.
 * @param frozen How much there was to send when it was frozen: {@link SocketProgress}, of its snapshot.
 * @returns What {@link sendPretendedData} is to send once the socket is thawed, or `undefined` when nothing is missing.
 *   Throws {@link LinuxError}.
 */
export function takePretendedData(fd: number, { frozen }: SocketProgress): PretendedData | undefined {
  const now = tcpInfo(fd)
  const pretended = frozen.notSent - now.notSent - (now.sentOnce - frozen.sentOnce)
  if (pretended <= 0) return undefined
  chooseQueue(fd, TCP_RECV_QUEUE)
  const acknowledgement = queueEnd(fd)
  chooseQueue(fd, TCP_SEND_QUEUE)
  const end = queueEnd(fd)
  const length = unacknowledgedBytes(fd)
  const queue = peekQueue(fd, length, 64 * 1024 + 1)
  // Another packet of the client came in between: it hears of this host, and waits for nothing.
  if (queue === undefined || tcpInfo(fd).notSent !== now.notSent) return undefined
  const { receiveWindow, receiveLastUpdate } = getRepairWindow(fd)
  const window = Math.max((receiveLastUpdate + receiveWindow - acknowledgement) | 0, 0)
  return {
    flow: flowOf(fd),
    sequence: (end - now.notSent - pretended) >>> 0,
    bytes: queue.slice(length - now.notSent - pretended, length - now.notSent),
    segmentSize: now.segmentSize,
    acknowledgement,
    window: Math.min(window >>> (now.windowScale?.receive ?? 0), 0xffff),
    timestamps: now.timestamps,
  }
}

/**
 * Sends the client what was only pretended to be sent, as the kernel would have: no more than the congestion window had room for.
 *
 * @param fd The socket, thawed, with its flow no longer locked. The calling thread must be in its network namespace.
 *   Throws {@link LinuxError} (`EPERM` without CAP_NET_RAW).
 */
export function sendPretendedData(fd: number, data: PretendedData): void {
  const { bytes, segmentSize, acknowledgement, window } = data
  const back = FlowKey.of(data.flow.service, data.flow.client)
  for (let offset = 0; offset < bytes.length; offset += segmentSize) {
    const segment = encodeSegment(back, {
      sequence: (data.sequence + offset) >>> 0,
      acknowledgement,
      window,
      payload: bytes.subarray(offset, offset + segmentSize),
      // Read now: what the thawed socket has sent has a later one than at the snapshot, and the client drops what goes backwards (PAWS).
      ...(data.timestamps && {
        timestamp: getOption(fd, IPPROTO_TCP, TCP_TIMESTAMP, 'getsockopt(TCP_TIMESTAMP)') >>> 0,
      }),
    })
    receiveSegment(back, segment)
  }
}
