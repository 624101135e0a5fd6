import type { FlowKey } from './flow.ts'
import type { HandoffReference, OutgoingMessage } from './protocol/messages.ts'
import type { Redirector, SteerTarget } from './redirector.ts'
import type { TcpSnapshot } from './snapshot.ts'

/** The two operations of a {@link Redirector} that a handoff needs. */
export type RuleTable = Pick<Redirector, 'put' | 'remove'>

/**
 * A live connection at the origin. All calls are synchronous. One that cannot be carried out throws and changes nothing, but for the
 * two that close: they close in any case.
 */
export interface OriginConnection {
  readonly flow: FlowKey
  /** From now on the socket says nothing (TCP_REPAIR on) and the application does not read or write. */
  freeze(): void
  /**
   * The state of the frozen connection; its queues are the caller's, who overwrites them. Throws when it is neither ESTABLISHED nor
   * CLOSE_WAIT any more.
   */
  snapshot(): TcpSnapshot
  /**
   * Throws when the frozen socket is not in the state of its snapshot any more: a packet that had passed the lock before it was there
   * arrived late. Called when nothing that the socket says is heard any more, and again as late as that can be undone.
   */
  verify(): void
  /** Undoes {@link freeze}: the connection goes on where it was. */
  thaw(): void
  /** Closes the frozen socket silently: neither FIN nor RST. The last call. */
  release(): void
  /**
   * Closes the socket, frozen or not, and tells the client with an RST. The last call. A socket that another process has too must not be
   * thawed for it: that process would go on should this one die in between.
   */
  reset(): void
}

/** A connection at a server, as the gateway sees it. The server has yielded it: it waits at a request boundary. */
export interface YieldedConnection {
  readonly flow: FlowKey
  /** The control channel to the server. */
  readonly channel: Channel
  /** The handoff that brought the connection to the server. */
  readonly connection: HandoffReference
  /** How the gateway's redirector reaches the server. */
  readonly steer: SteerTarget
}

/** A connection at the target, restored and silent, that no application has yet. The calls that close do so even when they throw. */
export interface RestoredConnection {
  readonly flow: FlowKey
  /** What the application at the origin had written and TCP had not sent: whoever adopts the connection writes it first. */
  readonly unsent: Uint8Array
  /** Makes the kernel send an acknowledgement (a window probe). Only called after the commit. */
  acknowledge(): void
  /** Closes silently: neither FIN nor RST. The last call. */
  discard(): void
  /** Closes and tells the client with an RST. The last call; it may come after an adoption that failed or took too long. */
  reset(): void
}

/** Puts snapshots into the kernel. */
export interface Restorer<C extends RestoredConnection = RestoredConnection> {
  /**
   * Restores and leaves repair mode silently. Throws, and leaves nothing behind, when the kernel refuses. The snapshot's queues are
   * the restorer's to overwrite.
   */
  restore(snapshot: TcpSnapshot): C
}

/** How an adopted connection has come. */
export interface Arrival extends HandoffReference {
  readonly flow: FlowKey
  /** The name of the gateway that coordinated the handoff ({@link Channel.host}), whichever host was its origin. */
  readonly host: string
}

/** The program that takes over restored connections. */
export interface Application<C extends RestoredConnection = RestoredConnection> {
  /**
   * Takes the connection; from the moment it returns or resolves, the connection is the application's. `application` is what the
   * origin's application sent along: it is overwritten when the call has succeeded, failed or taken too long. A failure makes the
   * caller reset the connection.
   */
  adopt(connection: C, application: Uint8Array, arrival: Arrival): void | Promise<void>
  /**
   * The coordinator has given an adopted connection up: its client's packets do not come here any more, and it was told so by an RST.
   * The connection is to be closed.
   */
  revoke?(arrival: Omit<Arrival, 'flow'>): void
}

/**
 * The lasting control channel to one other host. The object outlives its connections: it is the same one after a reconnect.
 * Its owner tells the drivers of every message and of every loss and return, and messages arrive in the order sent.
 */
export interface Channel {
  /** The authenticated name of the other host. */
  readonly host: string
  readonly connected: boolean
  /**
   * Queues the message. Throws when it cannot: not connected, or too much is queued already. The bytes of an offer are the channel's from
   * then on, also when this throws: it overwrites them as soon as it does not need them any more (invariant 9).
   */
  send(message: OutgoingMessage): void
}

/** Time, as far as a handoff needs it. */
export interface Clock {
  /** Monotonic, in microseconds; fractions are allowed. */
  now(): number
  /** Calls `callback` once, not before `milliseconds` have passed. The result cancels it. */
  after(milliseconds: number, callback: () => void): () => void
}

/** Told of errors that no caller waits for: a port that failed while a handoff was being undone or was over. Must not throw. */
export type ErrorListener = (error: unknown, context: { readonly flow?: FlowKey; readonly step: string }) => void
