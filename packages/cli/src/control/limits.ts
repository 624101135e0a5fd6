import { ControlError } from './errors.ts'

/** The times and sizes of a control channel. */
export interface ControlLimits {
  /** Milliseconds between two pings. Default 1000. */
  readonly pingInterval: number
  /** Milliseconds without a byte from the peer, or without the peer taking one of ours, until it counts as dead. Default 3000. */
  readonly deadAfter: number
  /** Milliseconds that TCP, the TLS handshake and the hello may take together. Default 3000. */
  readonly openTimeout: number
  /** Bytes of the longest message, an offer with its snapshot; others are far shorter by the protocol. Default 34 MiB. */
  readonly message: number
  /** Bytes that may wait to be written; not less than `message`. Default 64 MiB. */
  readonly outgoing: number
  /**
   * Messages a second that are taken from the peer, as an average; those of one second may come at once. More are read later: TCP's flow
   * control makes the peer wait. A message that makes this host work counts as several, an offer, a take, a recall and a yield as 5. A
   * connection that comes to a host and leaves it takes 17, so that there is room for 10,000 a second. Default 200,000.
   */
  readonly messages: number
  /** Connections to a listener that have not said hello yet; one more, and the oldest is refused. Default 64. */
  readonly opening: number
  /** Milliseconds until the second attempt to connect; each further one waits twice as long. Default 100. */
  readonly reconnectMinimum: number
  /** The longest time between two attempts to connect, milliseconds. Default 5000. */
  readonly reconnectMaximum: number
}

/** See {@link ControlLimits}. */
export const defaultControlLimits: ControlLimits = {
  pingInterval: 1000,
  deadAfter: 3000,
  openTimeout: 3000,
  message: 34 * 1024 * 1024,
  outgoing: 64 * 1024 * 1024,
  messages: 200_000,
  opening: 64,
  reconnectMinimum: 100,
  reconnectMaximum: 5000,
}

/** The limits with the defaults filled in. Throws {@link ControlError} `config` when they contradict each other. */
export function controlLimits(given: Partial<ControlLimits> = {}): ControlLimits {
  const limits = { ...defaultControlLimits, ...given }
  for (const [name, value] of Object.entries(limits)) {
    if (!(value > 0)) throw new ControlError('config', `the limit ${name} is ${value}: a number above 0 is expected`)
  }
  if (limits.outgoing < limits.message) {
    throw new ControlError(
      'config',
      `the limit outgoing is ${limits.outgoing}: at least that of a message, ${limits.message}, is expected`,
    )
  }
  return limits
}

/**
 * Room beyond {@link ControlLimits.outgoing} that only small messages may use: large offers must not keep out the commits and
 * rollbacks of handoffs that are under way.
 */
export const smallMessageReserve = 1024 * 1024

/** Messages up to this many bytes are small. */
export const smallMessageLength = 4096
