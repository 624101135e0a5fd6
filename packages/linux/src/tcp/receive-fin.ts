import type { TcpSnapshot } from '@xoffload/core'
import { LinuxError } from '../errno.ts'
import { tcpInfo } from './info.ts'
import { encodeSegment } from './segment.ts'
import { receiveSegment } from './send-packets.ts'

const LIMIT_MILLISECONDS = 100
const PAUSE_MILLISECONDS = 0.1

/**
 * Lets a restored socket, out of repair mode and with its receive queue full, receive the FIN that the client sent to the origin:
 * it becomes CLOSE_WAIT, and its application reads the end of the stream after the queue. The repair interface has no call for
 * that.
 *
 * The segment repeats what the client said last: the oldest byte that it has not acknowledged, and its window. It has no timestamp,
 * which the kernel takes for a segment that PAWS does not apply to. The ACK that it draws is one that the client may get at any
 * time.
 * Throws {@link LinuxError}: `EPERM` without CAP_NET_RAW, `ETIMEDOUT` when the segment does not arrive.
 */
export function receiveFin(fd: number, { flow, options, window, send, receive }: TcpSnapshot): void {
  const segment = encodeSegment(flow, {
    sequence: (receive.sequence + receive.queue.length) >>> 0,
    acknowledgement: send.sequence,
    window: Math.min(window.sendWindow >>> (options.windowScale?.send ?? 0), 0xffff),
    fin: true,
  })
  receiveSegment(flow, segment)
  // It has arrived by now, unless the kernel is so busy with packets that it leaves this one to a thread of its own (ksoftirqd).
  const deadline = performance.now() + LIMIT_MILLISECONDS
  while (tcpInfo(fd).state !== 'CLOSE_WAIT') {
    if (performance.now() > deadline) {
      const advice =
        'the segment was sent to the service address: does a firewall rule for the loopback device drop it?'
      throw new LinuxError('sending the FIN of the client to this host', 'ETIMEDOUT', advice)
    }
    Bun.sleepSync(PAUSE_MILLISECONDS)
  }
}
