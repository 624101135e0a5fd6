import { FlowKey } from '@xoffload/core'
import { IPPROTO_TCP } from '../socket/constants.ts'
import { getOption } from '../socket/options.ts'
import { unacknowledgedBytes } from '../socket/socket.ts'
import { TCP_RECV_QUEUE, TCP_SEND_QUEUE, TCP_TIMESTAMP } from './constants.ts'
import { tcpInfo } from './info.ts'
import { chooseQueue, peekQueue, queueEnd } from './queue.ts'
import { encodeSegment } from './segment.ts'
import { sendPackets } from './send-packets.ts'
import type { SocketProgress } from './snapshot.ts'
import { getRepairWindow } from './window.ts'

/** What counts as sent and has reached nobody, see {@link readUnheardData}. */
export interface UnheardData {
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
 * Looks for what a frozen socket has sent since its snapshot was taken, to nobody: a late packet of the client or a timer makes it. Behind a
 * silent lock it is discarded. Before, with the send queue chosen, the kernel counts all that there is to send as sent, without a
 * look at any window, and sends nothing (tcp_write_xmit in net/ipv4/tcp_output.c). Should the connection go on here, that costs a
 * retransmission timeout.
 *
 * @param fd A frozen socket whose flow is locked. Its bytes stay in its queue.
 * @param progress Where it stood when its snapshot was taken.
 * @returns As much of it as the client's window and the congestion window have room for, for {@link sendUnheardData}: the caller's, who
 *   overwrites it. `undefined` when nothing is missing, or there is no room. Throws {@link LinuxError}.
 */
export function readUnheardData(fd: number, { unsent }: SocketProgress): UnheardData | undefined {
  const now = tcpInfo(fd)
  const unheard = unsent - now.notSent
  if (unheard <= 0) return undefined
  chooseQueue(fd, TCP_RECV_QUEUE)
  const acknowledgement = queueEnd(fd)
  chooseQueue(fd, TCP_SEND_QUEUE)
  const length = unacknowledgedBytes(fd)
  const sequence = queueEnd(fd) - length
  const queue = peekQueue(fd, length, 64 * 1024 + 1)
  const { sendWindow, receiveWindow, receiveLastUpdate } = getRepairWindow(fd)
  const sent = length - now.notSent
  const first = sent - unheard
  const end = Math.min(sent, sendWindow, now.congestionWindow * now.segmentSize)
  // Or yet another packet came while this looked: the retransmission timer remains.
  const bytes = first < 0 || end <= first ? undefined : queue?.slice(first, end)
  queue?.fill(0)
  if (bytes === undefined) return undefined
  const window = Math.max((receiveLastUpdate + receiveWindow - acknowledgement) | 0, 0)
  return {
    sequence: (sequence + first) >>> 0,
    bytes,
    segmentSize: now.segmentSize,
    acknowledgement,
    window: Math.min(window >>> (now.windowScale?.receive ?? 0), 0xffff),
    timestamps: now.timestamps,
  }
}

/**
 * Sends the client what it did not hear. What did not fit into the windows, and is not in `data`, is left to the kernel's
 * loss probes and retransmission timer.
 *
 * @param fd The socket of the flow, thawed, and no longer locked. The calling thread must be in its network namespace.
 *   Throws {@link LinuxError} (`EPERM` without CAP_NET_RAW; `EMSGSIZE` when the path's MTU has shrunk).
 */
export function sendUnheardData(fd: number, flow: FlowKey, data: UnheardData): void {
  const { bytes, segmentSize, acknowledgement, window } = data
  // Read now: what the thawed socket has sent has a later one than its snapshot, and the client drops what goes backwards (PAWS).
  const timestamp = data.timestamps
    ? getOption(fd, IPPROTO_TCP, TCP_TIMESTAMP, 'getsockopt(TCP_TIMESTAMP)') >>> 0
    : undefined
  const back = FlowKey.of(flow.service, flow.client)
  const packets: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length; offset += segmentSize) {
    const fields = {
      sequence: (data.sequence + offset) >>> 0,
      acknowledgement,
      window,
      push: offset + segmentSize >= bytes.length,
      payload: bytes.subarray(offset, offset + segmentSize),
      ...(timestamp !== undefined && { timestamp }),
    }
    packets.push(encodeSegment(back, fields))
  }
  try {
    sendPackets(back, packets)
  } finally {
    for (const packet of packets) packet.fill(0)
  }
}
