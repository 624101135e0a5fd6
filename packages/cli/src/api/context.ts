import type { GatewayOperations } from '../gateway/operations.ts'
import type { Streams } from './streams.ts'

/** What the routes of one API have in common. */
export interface ApiContext {
  readonly operations: GatewayOperations
  readonly streams: Streams
  /** Aborted when the API ends: event streams end, and orders that wait are given up. */
  readonly signal: AbortSignal
}
