import { IPPROTO_TCP } from '../socket/constants.ts'
import { getOptionBytes } from '../socket/options.ts'
import { TCP_INFO } from './constants.ts'

/** The states of include/net/tcp_states.h, by number. */
const stateNames = [
  'unknown',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
] as const

/** A state of a TCP connection. */
export type TcpState = (typeof stateNames)[number]

// Bits of tcpi_options (include/uapi/linux/tcp.h).
const TCPI_OPT_TIMESTAMPS = 1
const TCPI_OPT_SACK = 2
const TCPI_OPT_WSCALE = 4

/** The part of `struct tcp_info` that a move depends on. */
export interface TcpInfo {
  readonly state: TcpState
  readonly timestamps: boolean
  readonly selectiveAcknowledgement: boolean
  /** Absent when window scaling was not negotiated. */
  readonly windowScale?: { readonly send: number; readonly receive: number }
  /** Bytes of data that fit into one segment that it sends. */
  readonly segmentSize: number
  /** Segments that may be on their way. */
  readonly congestionWindow: number
  /** Bytes that were written and not sent yet. */
  readonly notSent: number
  /** Bytes of data that went out, each counted once. Moves with `notSent`, unless the kernel only pretends to send. */
  readonly sentOnce: number
  /** Bytes that the client has acknowledged, and that have come from it in order; its FIN counts as one. */
  readonly acknowledged: number
  readonly received: number
}

// Up to tcpi_bytes_retrans, which Linux 4.19 brought.
const info = new Uint8Array(216)
const view = new DataView(info.buffer)
const SND_MSS = 16
const SND_CWND = 80
const BYTES_ACKED = 120
const BYTES_RECEIVED = 128
const NOTSENT_BYTES = 144
const BYTES_SENT = 200
const BYTES_RETRANS = 208

/** Reads TCP_INFO (tcp(7)). Throws {@link LinuxError}. */
export function tcpInfo(fd: number): TcpInfo {
  getOptionBytes(fd, IPPROTO_TCP, TCP_INFO, info, 'getsockopt(TCP_INFO)')
  const options = info[5] as number
  const scales = info[6] as number
  return {
    state: stateNames[info[0] as number] ?? 'unknown',
    timestamps: (options & TCPI_OPT_TIMESTAMPS) !== 0,
    selectiveAcknowledgement: (options & TCPI_OPT_SACK) !== 0,
    segmentSize: view.getUint32(SND_MSS, true),
    congestionWindow: view.getUint32(SND_CWND, true),
    notSent: view.getUint32(NOTSENT_BYTES, true),
    sentOnce: Number(view.getBigUint64(BYTES_SENT, true) - view.getBigUint64(BYTES_RETRANS, true)),
    acknowledged: Number(view.getBigUint64(BYTES_ACKED, true)),
    received: Number(view.getBigUint64(BYTES_RECEIVED, true)),
    ...((options & TCPI_OPT_WSCALE) !== 0 && { windowScale: { send: scales & 0xf, receive: scales >> 4 } }),
  }
}
