import type { Endpoint, HelloMessage } from '@xoffload/core'
import type { ControlHandlers } from './channel.ts'
import type { ControlCredentials } from './credentials.ts'
import type { ControlError } from './errors.ts'
import type { ControlLimits } from './limits.ts'

/** A host to keep a control channel to. */
export interface ControlPeer {
  /** The name that its certificate must have. */
  readonly name: string
  readonly endpoint: Endpoint
}

/** What a `ControlConnector` needs. */
export interface ControlConnectorOptions extends ControlHandlers {
  readonly peers: readonly ControlPeer[]
  readonly credentials: ControlCredentials
  /** What this host says first; `hello.host` is its own name. */
  readonly hello: HelloMessage
  readonly limits?: Partial<ControlLimits>
  /** An attempt failed; the next follows after `retryAfter` milliseconds. */
  onUnavailable?(peer: string, reason: ControlError, retryAfter: number): void
  /** For the jitter of the delays. Default `Math.random`. */
  random?(): number
}
