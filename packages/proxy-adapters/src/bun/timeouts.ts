import type { ConnectionHost } from './host.ts'

/** After its own FIN a connection waits this many milliseconds for the client's, so that no reset overtakes the response. */
const LINGER = 5_000

/** What a connection is waiting for. Times are on the host's clock. */
export interface Waiting {
  readonly phase: 'idle' | 'collecting' | 'handling' | 'suspended' | 'closing' | 'closed'
  /** When bytes last moved. */
  readonly activity: number
  /** When the incomplete head or the closing began, 0 when there is neither. */
  readonly since: number
  /** Whether the kernel has not yet taken all that was written. */
  readonly outputBlocked: boolean
  /** Whether the client owes a part of the body of the request under way. */
  readonly bodyDue: boolean
}

/** What is to be done about a connection that has waited too long; `undefined` when it has not. `refuse` is a 408. */
export function overdue(
  { phase, activity, since, outputBlocked, bodyDue }: Waiting,
  { now, idleTimeout, headTimeout }: ConnectionHost,
): 'refuse' | 'close' | 'terminate' | undefined {
  const quiet = now - activity > idleTimeout
  switch (phase) {
    case 'idle':
      if (since > 0 && now - since > headTimeout) return 'refuse'
      if (quiet && outputBlocked) return 'terminate'
      return quiet && since === 0 ? 'close' : undefined
    case 'collecting':
      return quiet ? 'refuse' : undefined
    case 'handling':
      // A handler may take its time. A client that neither reads nor sends what is due may not.
      return quiet && (outputBlocked || bodyDue) ? 'terminate' : undefined
    case 'closing':
      return now - since > LINGER ? 'terminate' : undefined
    default:
      return undefined
  }
}
