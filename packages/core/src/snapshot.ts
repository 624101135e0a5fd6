import type { FlowKey } from './flow.ts'

/** What the two ends agreed on in their SYNs. An option that is absent was not negotiated and must not be restored. */
export interface NegotiatedOptions {
  /** The maximum segment size as negotiated (`mss_clamp`), in bytes: TCP_MAXSEG read inside repair mode. */
  readonly maximumSegmentSize: number
  /** RFC 7323 window scale shifts, 0 to 14. */
  readonly windowScale?: { readonly send: number; readonly receive: number }
  /** RFC 2018: both ends may send SACK. */
  readonly selectiveAcknowledgement: boolean
  /** RFC 7323: the value of this side's timestamp clock when the snapshot was taken (TCP_TIMESTAMP). */
  readonly timestamp?: number
}

/** The kernel's `struct tcp_repair_window` (include/uapi/linux/tcp.h). */
export interface RepairWindow {
  readonly sendLastUpdate: number
  readonly sendWindow: number
  readonly maximumWindow: number
  readonly receiveWindow: number
  readonly receiveLastUpdate: number
}

/** One TCP connection, taken out of the kernel of its origin, ready to be put into that of its target. */
export interface TcpSnapshot {
  readonly flow: FlowKey
  readonly options: NegotiatedOptions
  readonly window: RepairWindow
  /** The send queue. `sequence` is that of the first byte of `sent`. */
  readonly send: {
    readonly sequence: number
    /** Sent and not yet acknowledged by the client. */
    readonly sent: Uint8Array
    /** Written by the application and not sent yet. */
    readonly unsent: Uint8Array
  }
  /** The receive queue. `sequence` is that of the first byte of `queue`, bytes that were put back in front included. */
  readonly receive: {
    readonly sequence: number
    readonly queue: Uint8Array
    /** The client has sent its FIN, right behind `queue`: it says no more, and waits for the answer (CLOSE_WAIT). Default false. */
    readonly fin?: boolean
  }
}

/** The most that one queue of a snapshot may hold, in bytes. */
export const MAXIMUM_QUEUE_LENGTH = 16 * 1024 * 1024
