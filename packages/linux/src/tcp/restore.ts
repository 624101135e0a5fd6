import type { FlowKey, NegotiatedOptions, RepairWindow, TcpSnapshot } from '@xoffload/core'
import { MAXIMUM_QUEUE_LENGTH } from '@xoffload/core'
import { errnoName, LinuxError } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { AF_INET, AF_INET6, IPPROTO_TCP, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from '../socket/constants.ts'
import { setOption, setOptionBytes } from '../socket/options.ts'
import { encodeSockaddr, SOCKADDR_LENGTH } from '../socket/sockaddr.ts'
import { closeFd } from '../socket/socket.ts'
import {
  TCP_MAXSEG,
  TCP_NO_QUEUE,
  TCP_RECV_QUEUE,
  TCP_REPAIR_OPTIONS,
  TCP_SEND_QUEUE,
  TCP_TIMESTAMP,
  TCP_WINDOW_CLAMP,
  TCPOPT_MSS,
  TCPOPT_SACK_PERM,
  TCPOPT_TIMESTAMP,
  TCPOPT_WINDOW,
} from './constants.ts'
import { chooseQueue, fillQueue, reserveReceiveBuffer, reserveSendBuffer, setQueueStart } from './queue.ts'
import { receiveFin } from './receive-fin.ts'
import { closeSilently, freeze, thaw } from './repair.ts'
import { setRepairWindow } from './window.ts'

/** A connection that was put back into a kernel. */
export interface RestoredSocketFd {
  /** The socket: non-blocking, close-on-exec, out of repair mode; ESTABLISHED, or CLOSE_WAIT when the client has sent its FIN. */
  readonly fd: number
  /** What the application wrote at the origin and what was never sent. To be written to `fd` once the handoff is committed. */
  readonly unsent: Uint8Array
}

/**
 * Makes a socket of a snapshot, in the network namespace of the calling thread. Nothing is sent, but for an ACK of the client's FIN
 * when there was one; from now on the socket answers packets and retransmits: lock the flow first.
 *
 * Throws {@link LinuxError} and leaves nothing behind: `EADDRNOTAVAIL` when the service address is not one of this host,
 * `EADDRINUSE` when this host has a socket of this flow already, `EPERM` without CAP_NET_ADMIN (and CAP_NET_RAW, for a snapshot
 * with a FIN), `ETIMEDOUT` when a firewall keeps that FIN from this host's stack.
 */
export function restore(snapshot: TcpSnapshot): RestoredSocketFd {
  const family = snapshot.flow.family === 4 ? AF_INET : AF_INET6
  const fd = check('socket', libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP))
  try {
    freeze(fd)
  } catch (error) {
    closeFd(fd)
    throw error
  }
  try {
    establish(fd, snapshot)
    setOptions(fd, snapshot.options)
    fillQueues(fd, snapshot)
    setRepairWindow(fd, windowBeforeFin(snapshot))
    thaw(fd)
    if (snapshot.receive.fin === true) receiveFin(fd, snapshot)
  } catch (error) {
    closeSilently(fd)
    throw error
  }
  return { fd, unsent: snapshot.send.unsent }
}

// TCP_MIN_MSS and MAX_TCP_WINDOW of include/net/tcp.h: what TCP_MAXSEG accepts. Only a loopback device has a larger MSS.
const SMALLEST_USER_MSS = 88
const LARGEST_USER_MSS = 32767

const sockaddr = new Uint8Array(SOCKADDR_LENGTH)

/** From CLOSE to ESTABLISHED without a packet: in repair mode connect(2) does no handshake. */
function establish(fd: number, { flow, options, send, receive }: TcpSnapshot): void {
  // Inside repair mode, where the kernel forces the reuse of the port: a listener or other connections hold it. SO_REUSEADDR must
  // not be set now, it would replace that.
  const serviceLength = encodeSockaddr(flow, 'service', sockaddr)
  if (libc.bind(fd, sockaddr, serviceLength) < 0) throw bindError(flow)
  chooseQueue(fd, TCP_RECV_QUEUE)
  setQueueStart(fd, receive.sequence)
  chooseQueue(fd, TCP_SEND_QUEUE)
  setQueueStart(fd, send.sequence)
  // connect(2) chooses a window scale of this host's own liking, and in repair mode nothing takes it back when the client did not
  // negotiate one. A window that needs no scale makes it choose 0.
  if (options.windowScale === undefined) {
    setOption(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 65535, 'setsockopt(TCP_WINDOW_CLAMP)')
  }
  // connect(2) assumes 536 bytes, and the MSS that TCP_REPAIR_OPTIONS sets later does not change the segment size in use. The
  // user's MSS does, within the limits that the kernel has for it.
  const segmentSize = Math.min(Math.max(options.maximumSegmentSize, SMALLEST_USER_MSS), LARGEST_USER_MSS)
  setOption(fd, IPPROTO_TCP, TCP_MAXSEG, segmentSize, 'setsockopt(TCP_MAXSEG)')
  const clientLength = encodeSockaddr(flow, 'client', sockaddr)
  if (libc.connect(fd, sockaddr, clientLength) < 0) throw connectError(flow)
}

// Room for four `struct tcp_repair_opt { __u32 opt_code, opt_val }`.
const repairOptions = new Uint32Array(8)

function setOptions(fd: number, options: NegotiatedOptions): void {
  let count = 0
  const add = (code: number, value: number) => {
    repairOptions[count++] = code
    repairOptions[count++] = value
  }
  if (options.selectiveAcknowledgement) add(TCPOPT_SACK_PERM, 0)
  if (options.windowScale !== undefined)
    add(TCPOPT_WINDOW, options.windowScale.send | (options.windowScale.receive << 16))
  if (options.timestamp !== undefined) add(TCPOPT_TIMESTAMP, 0)
  add(TCPOPT_MSS, options.maximumSegmentSize)
  setOptionBytes(
    fd,
    IPPROTO_TCP,
    TCP_REPAIR_OPTIONS,
    repairOptions.subarray(0, count),
    'setsockopt(TCP_REPAIR_OPTIONS)',
  )
  if (options.timestamp !== undefined) {
    // The client drops segments whose timestamps go backwards (RFC 7323, PAWS), so the origin's clock goes on here.
    setOption(fd, IPPROTO_TCP, TCP_TIMESTAMP, options.timestamp | 0, 'setsockopt(TCP_TIMESTAMP)')
  }
}

function fillQueues(fd: number, { send, receive, window }: TcpSnapshot): void {
  // The client may fill the window that the origin offered before the application reads a byte: that must fit as well.
  const offered = (window.receiveLastUpdate + window.receiveWindow - receive.sequence) | 0
  reserveReceiveBuffer(fd, Math.min(Math.max(offered, receive.queue.length), 2 * MAXIMUM_QUEUE_LENGTH))
  if (receive.queue.length > 0) {
    chooseQueue(fd, TCP_RECV_QUEUE)
    fillQueue(fd, receive.queue)
  }
  if (send.sent.length > 0) {
    reserveSendBuffer(fd, send.sent.length)
    chooseQueue(fd, TCP_SEND_QUEUE)
    fillQueue(fd, send.sent)
  }
  chooseQueue(fd, TCP_NO_QUEUE)
}

/** The kernel takes no window that begins behind the queue, and a FIN that the origin has acknowledged is not in it yet. */
function windowBeforeFin({ window, receive }: TcpSnapshot): RepairWindow {
  const end = (receive.sequence + receive.queue.length) >>> 0
  if (receive.fin !== true || window.receiveLastUpdate !== (end + 1) >>> 0) return window
  return { ...window, receiveLastUpdate: end, receiveWindow: window.receiveWindow + 1 }
}

function bindError({ service }: FlowKey): LinuxError {
  const errno = errnoName(lastErrno())
  if (errno !== 'EADDRNOTAVAIL') return new LinuxError('bind', errno)
  return new LinuxError(
    'bind',
    errno,
    `the service address ${service.address} is not one of this host: add it to the loopback device`,
  )
}

function connectError(flow: FlowKey): LinuxError {
  const errno = errnoName(lastErrno())
  // In repair mode the port is given, so this says that the 4-tuple is taken. EADDRINUSE is the name that the situation deserves.
  if (errno === 'EADDRNOTAVAIL') {
    return new LinuxError(
      'connect',
      'EADDRINUSE',
      `this host has a socket of the flow ${flow} already: close that one first`,
    )
  }
  return new LinuxError('connect', errno, `is there a route to ${flow.client.address}?`)
}
