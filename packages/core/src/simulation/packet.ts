import type { SimulatedFlow } from './flow.ts'

/** A TCP segment on its way. Every one has an acknowledgement. */
export interface Packet {
  readonly flow: SimulatedFlow
  /** From the service to the client, or the other way. */
  readonly toClient: boolean
  /** The name of the host whose stack has made it. */
  readonly from: string
  /** u32. */
  readonly sequence: number
  /** u32. */
  readonly acknowledgement: number
  readonly bytes: Uint8Array
  readonly fin: boolean
  readonly rst: boolean
  /** The value of the sender's timestamp clock (RFC 7323), 0 when the option was not negotiated. */
  readonly timestamp: number
  /** How often it may still be returned by one host to another. */
  hops: number
  /** A socket has got it. One that was frozen just then is noticed where it was let pass. */
  reached?: boolean
}

/** The bytes of a packet without any. */
export const NO_BYTES = new Uint8Array()

/** The signed distance between two sequence numbers (RFC 1982). */
export function distance(from: number, to: number): number {
  return (to - from) | 0
}

/** A packet as a part of a line of the trace. */
export function describePacket({ sequence, acknowledgement, bytes, fin, rst, toClient, from }: Packet): string {
  const flags = `${fin ? ' FIN' : ''}${rst ? ' RST' : ''}`
  return `${from}${toClient ? ' to client' : ''}: ${sequence}+${bytes.length} ack ${acknowledgement}${flags}`
}
