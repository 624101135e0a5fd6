import type { FlowKey } from '../flow.ts'
import type { MacAddress } from '../mac.ts'
import type { TcpSnapshot } from '../snapshot.ts'

/** The version of the handoff protocol that this package speaks. */
export const PROTOCOL_VERSION = 1

/** The longest name of a host, in bytes of UTF-8. */
export const MAXIMUM_HOST_LENGTH = 255
/** The longest text of a refusal, in bytes of UTF-8. */
export const MAXIMUM_TEXT_LENGTH = 1024
/** The most that the application part of an offer may hold, in bytes. */
export const MAXIMUM_APPLICATION_LENGTH = 64 * 1024

/** The first message on a control channel, in both directions. */
export interface HelloMessage {
  readonly type: 'hello'
  readonly protocolVersion: number
  /** The name of the host that says hello, as in the configuration. */
  readonly host: string
  /** Where packets for this host go on the shared segment. */
  readonly mac: MacAddress
  /** A random 64-bit number of the process: another one means that the process has started anew and knows nothing. */
  readonly instance: bigint
  /** How many handoffs this host is willing to have in progress as a target. */
  readonly maximumHandoffs: number
}

/** Names one handoff. The pair is unique for one origin host; equality is all that counts. */
export interface HandoffReference {
  /** The origin's number of the handoff: a safe integer, never used twice in an epoch. */
  readonly handoff: number
  /** The incarnation of the origin's process, u32. */
  readonly epoch: number
}

/** Origin to target: restore this connection and say nothing on it yet. */
export interface OfferMessage extends HandoffReference {
  readonly type: 'offer'
  /** The encoded snapshot (`encodeSnapshot`). */
  readonly snapshot: Uint8Array
  /** Opaque to the protocol: what the origin's application tells the target's. At most 64 KiB. */
  readonly application: Uint8Array
}

/** Target to origin: the connection is restored and waits for the commit. */
export interface AcceptMessage extends HandoffReference {
  readonly type: 'accept'
  readonly restoreMicroseconds: number
}

/**
 * `busy` (too many handoffs, or one of this flow, or closing), `unsupported`, `invalid` (the snapshot), `unknown` (no such
 * handoff here, any more), `failed` (the host could not do it; see the text), `not-authorised` (not this host's service address).
 */
export const REFUSE_REASONS = ['busy', 'unsupported', 'invalid', 'unknown', 'failed', 'not-authorised'] as const
export type RefuseReason = (typeof REFUSE_REASONS)[number]

/** Target to origin: no. After a commit it means that the connection is lost. */
export interface RefuseMessage extends HandoffReference {
  readonly type: 'refuse'
  readonly reason: RefuseReason
  readonly text: string
}

/** Origin to target: the client's packets come to you from now on. */
export interface CommitMessage extends HandoffReference {
  readonly type: 'commit'
  /** The client sent bytes that nobody has acknowledged: do it at once. */
  readonly acknowledge: boolean
}

/** Target to origin: the application has the connection. */
export interface CommittedMessage extends HandoffReference {
  readonly type: 'committed'
  readonly adoptMicroseconds: number
}

/** Origin to target: forget the handoff, silently. Means nothing after a commit that arrived. */
export interface AbortMessage extends HandoffReference {
  readonly type: 'abort'
}

/**
 * Server to gateway: the connection that this handoff brought has ended, its rule is no longer needed. It may come again after a
 * reconnect, when the client's port is used by another connection already.
 */
export interface EndedMessage extends HandoffReference {
  readonly type: 'ended'
  readonly flow: FlowKey
}

export interface PingMessage {
  readonly type: 'ping'
  /** Any u32; the answer repeats it. */
  readonly nonce: number
}

export interface PongMessage {
  readonly type: 'pong'
  readonly nonce: number
}

/** What arrives on a control channel. */
export type Message =
  | HelloMessage
  | OfferMessage
  | AcceptMessage
  | RefuseMessage
  | CommitMessage
  | CommittedMessage
  | AbortMessage
  | EndedMessage
  | PingMessage
  | PongMessage

/** An offer on its way out may carry the snapshot itself: it is then encoded straight into the message. */
export interface OutgoingOffer extends Omit<OfferMessage, 'snapshot'> {
  readonly snapshot: TcpSnapshot | Uint8Array
}

/** What may be sent on a control channel. */
export type OutgoingMessage = Message | OutgoingOffer

/** What an origin sends and a target receives. */
export type OriginMessage = OfferMessage | CommitMessage | AbortMessage
/** What a target sends and an origin receives. */
export type TargetMessage = AcceptMessage | RefuseMessage | CommittedMessage
