import { EAGAIN, ENOBUFS, ENOMEM, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import {
  IPPROTO_TCP,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  SO_BUF_LOCK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOL_SOCKET,
} from '../socket/constants.ts'
import { getOption, setOption } from '../socket/options.ts'
import {
  type TCP_NO_QUEUE,
  TCP_QUEUE_SEQ,
  type TCP_RECV_QUEUE,
  TCP_REPAIR_QUEUE,
  type TCP_SEND_QUEUE,
} from './constants.ts'

/** One of the queues that TCP_REPAIR_QUEUE chooses. */
export type RepairQueue = typeof TCP_NO_QUEUE | typeof TCP_RECV_QUEUE | typeof TCP_SEND_QUEUE

const LARGEST_CHUNK = 16 * 1024
const SMALLEST_CHUNK = 1024

/** Chooses the queue that recv, send and TCP_QUEUE_SEQ work on in repair mode. */
export function chooseQueue(fd: number, queue: RepairQueue): void {
  setOption(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, 'setsockopt(TCP_REPAIR_QUEUE)', 'freeze the socket first')
}

/** The sequence number one past the last byte of the chosen queue: `write_seq` or `rcv_nxt`. */
export function queueEnd(fd: number): number {
  return getOption(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, 'getsockopt(TCP_QUEUE_SEQ)') >>> 0
}

/** Sets the sequence number of the first byte of the chosen queue. Only before connect(2). */
export function setQueueStart(fd: number, sequence: number): void {
  setOption(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence | 0, 'setsockopt(TCP_QUEUE_SEQ)')
}

/**
 * The bytes of the chosen queue. `slack` bytes more than `length` are asked for, so that a queue which is longer than expected shows.
 * Returns `undefined` when it does not have between `length` and `length + slack - 1` bytes; else its *last* `length` bytes.
 */
export function peekQueue(fd: number, length: number, slack: number): Uint8Array | undefined {
  const buffer = new Uint8Array(length + slack)
  const count = Number(libc.recv(fd, buffer, buffer.length, MSG_PEEK | MSG_DONTWAIT))
  if (count < length || count === buffer.length) return undefined
  return count === length ? buffer.subarray(0, length) : buffer.subarray(count - length, count)
}

/**
 * Puts bytes into the chosen queue. One send(2) may be short or fail for want of memory, so it goes in chunks that get smaller.
 * Throws {@link LinuxError} when not even the smallest chunk is taken: never returns with a part of the bytes.
 */
export function fillQueue(fd: number, bytes: Uint8Array): void {
  let chunk = LARGEST_CHUNK
  for (let offset = 0; offset < bytes.length; ) {
    const end = Math.min(offset + chunk, bytes.length)
    const written = Number(libc.send(fd, bytes.subarray(offset, end), end - offset, MSG_DONTWAIT | MSG_NOSIGNAL))
    if (written > 0) {
      offset += written
      continue
    }
    const errno = written < 0 ? lastErrno() : EAGAIN
    if (chunk <= SMALLEST_CHUNK || (errno !== EAGAIN && errno !== ENOMEM && errno !== ENOBUFS)) {
      check(
        `send to a repaired queue (${offset} of ${bytes.length} bytes are in)`,
        -1,
        'see net.ipv4.tcp_mem for the memory of TCP',
      )
    }
    chunk >>= 1
  }
}

/**
 * Lets the socket's receive buffer hold `length` bytes of data at least. The kernel goes on to tune the buffer by itself
 * (SO_RCVBUFFORCE stops that, SO_BUF_LOCK starts it again; Linux 5.15).
 */
export function reserveReceiveBuffer(fd: number, length: number): void {
  reserve(fd, length, SO_RCVBUF, SO_RCVBUFFORCE)
}

/** The same for the send buffer. */
export function reserveSendBuffer(fd: number, length: number): void {
  reserve(fd, length, SO_SNDBUF, SO_SNDBUFFORCE)
}

function reserve(fd: number, length: number, option: number, force: number): void {
  // The kernel counts its own structures too, hence the factor of two (socket(7), SO_RCVBUF): it doubles the value that is set.
  if (getOption(fd, SOL_SOCKET, option, 'getsockopt(SO_RCVBUF or SO_SNDBUF)') >= 2 * length) return
  setOption(fd, SOL_SOCKET, force, length, 'setsockopt(SO_RCVBUFFORCE or SO_SNDBUFFORCE)')
  setOption(fd, SOL_SOCKET, SO_BUF_LOCK, 0, 'setsockopt(SO_BUF_LOCK)', 'this needs Linux 5.15 or newer')
}
