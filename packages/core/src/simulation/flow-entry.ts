import type { HandoffReference } from '../protocol/messages.ts'
import type { SimulatedFlow } from './flow.ts'
import type { KnownServer } from './gateway.ts'

/** A connection that the gateway's process has a rule for. */
export interface SteeredConnection {
  readonly flow: SimulatedFlow
  readonly server: KnownServer
  /** The handoff that brought it there. */
  readonly reference: HandoffReference
  /** `mending`: its rule is being set right. */
  state: 'moving' | 'steered' | 'ended' | 'mending'
  /** The server's process that has it. */
  readonly instance: number
  /** An end that was told while the connection was being moved. */
  end?: HandoffReference
}
