import { FlowKey } from '../flow.ts'
import type { NegotiatedOptions } from '../snapshot.ts'
import type { ServedConnection } from './application.ts'

/** One client connection of a simulation, and what is true of it however many hosts know a part of that. */
export class SimulatedFlow {
  readonly index: number
  readonly key: FlowKey
  readonly options: NegotiatedOptions
  /** Bytes of one request and of one response, and how many requests there are. */
  readonly requestLength: number
  readonly responseLength: number
  readonly requests: number
  /** The host that may speak to the client: the one to which the gateway's rules have given the connection. */
  speaker = 'gateway'
  /** Bytes of requests that applications have consumed, and of responses that they have written, on all hosts together. */
  consumed = 0
  written = 0
  /** The last one that was at work on it. */
  application: ServedConnection | undefined
  /** What has happened that may cost the connection. Without such a reason it survives. */
  readonly causes = new Set<string>()
  /** The client has no connection any more, or wants none. */
  over = false

  constructor(
    index: number,
    options: NegotiatedOptions,
    lengths: { request: number; response: number; count: number },
  ) {
    this.index = index
    this.key = keyOf(index)
    this.options = options
    this.requestLength = lengths.request
    this.responseLength = lengths.response
    this.requests = lengths.count
  }

  /** Whether nobody is surprised when the connection ends. */
  get mayEnd(): boolean {
    return this.over || this.causes.size > 0
  }

  toString(): string {
    return `connection ${this.index}`
  }
}

const keys: FlowKey[] = []

/** The key of a flow, made once: parsing addresses takes longer than the steps of a handoff. */
function keyOf(index: number): FlowKey {
  keys[index] ??= FlowKey.of({ address: '192.0.2.7', port: 40_000 + index }, { address: '198.51.100.1', port: 80 })
  return keys[index]
}

const PERIOD = 251
const LONGEST = 4096
const PATTERN = Uint8Array.from({ length: PERIOD + LONGEST }, (_, index) => index % PERIOD)

/** Bytes that say where they belong: those of a stream from `offset` on. Not to be changed. */
export function ramp(offset: number, length: number): Uint8Array {
  const start = offset % PERIOD
  return PATTERN.subarray(start, start + length)
}

/** The place of the first byte that is not the stream's, undefined when all are. */
export function findWrongByte(bytes: Uint8Array, offset: number): number | undefined {
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index] !== (offset + index) % PERIOD) return offset + index
  }
  return undefined
}
