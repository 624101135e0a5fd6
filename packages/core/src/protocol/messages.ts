import type { FlowKey } from '../flow.ts'
import type { MacAddress } from '../mac.ts'
import type { IpipTarget, VxlanTarget } from '../redirector.ts'
import type { TcpSnapshot } from '../snapshot.ts'

/** The version of the handoff protocol that this package speaks. */
export const PROTOCOL_VERSION = 2

/** The longest name of a host, in bytes of UTF-8. */
export const MAXIMUM_HOST_LENGTH = 255
/** The longest text of a refusal, in bytes of UTF-8. */
export const MAXIMUM_TEXT_LENGTH = 1024
/** The most that the application part of an offer may hold, in bytes. */
export const MAXIMUM_APPLICATION_LENGTH = 64 * 1024

/** The most that a yield may hold of the next request, in bytes. */
export const MAXIMUM_REQUEST_LENGTH = 64 * 1024
/** The most connections in one report; a host with more sends several. */
export const MAXIMUM_REPORT_LENGTH = 512

/** The first message on a control channel, in both directions. */
export interface HelloMessage {
  readonly type: 'hello'
  readonly protocolVersion: number
  /** The name of the host that says hello, as in the configuration. */
  readonly host: string
  /** Where packets for this host go on the shared segment, if there is one. */
  readonly mac: MacAddress
  /** A random 64-bit number of the process: another one means that the process has started anew and knows nothing. */
  readonly instance: bigint
  /** How many handoffs this host is willing to have in progress as a target. */
  readonly maximumHandoffs: number
  /** Where packets for this host go when it is in another subnet. */
  readonly tunnel?: VxlanTarget | IpipTarget
}

/** Names one handoff. The pair is unique for one gateway; equality is all that counts. */
export interface HandoffReference {
  /** The gateway's number of the handoff: a safe integer, never used twice in an epoch. */
  readonly handoff: number
  /** The incarnation of the gateway's process, u32. */
  readonly epoch: number
}

/**
 * Coordinator to target: restore this connection and say nothing on it yet. A server that gives a connection sends it to the gateway, which
 * passes it on with the same reference.
 */
export interface OfferMessage extends HandoffReference {
  readonly type: 'offer'
  /** The encoded snapshot (`encodeSnapshot`). */
  readonly snapshot: Uint8Array
  /** Opaque to the protocol: what the origin's application tells the target's. At most 64 KiB. */
  readonly application: Uint8Array
}

/** Target to coordinator: the connection is restored and waits for the commit. */
export interface AcceptMessage extends HandoffReference {
  readonly type: 'accept'
  readonly restoreMicroseconds: number
}

/**
 * `busy` (too many handoffs, or one of this flow, or closing), `unsupported`, `invalid` (the snapshot), `unknown` (no such
 * handoff here, any more), `failed` (the host could not do it; see the text), `not-authorised` (not this host's service address).
 */
export const REFUSE_REASONS = ['busy', 'unsupported', 'invalid', 'unknown', 'failed', 'not-authorised'] as const
/** One of {@link REFUSE_REASONS}. */
export type RefuseReason = (typeof REFUSE_REASONS)[number]

/** Target to coordinator, or a server that was to give a connection: no. After a commit it means that the connection is lost. */
export interface RefuseMessage extends HandoffReference {
  readonly type: 'refuse'
  readonly reason: RefuseReason
  readonly text: string
}

/** Coordinator to target: the client's packets come to you from now on. */
export interface CommitMessage extends HandoffReference {
  readonly type: 'commit'
  /** The client sent bytes that nobody has acknowledged: do it at once. */
  readonly acknowledge: boolean
}

/** Target to coordinator: the application has the connection. */
export interface CommittedMessage extends HandoffReference {
  readonly type: 'committed'
  readonly adoptMicroseconds: number
}

/**
 * Coordinator to target: forget the handoff, silently; one that arrives after the commit makes the target reset the connection.
 * Gateway to a server that offered a connection: it goes on with you.
 */
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

/**
 * Server to gateway: the connection that this handoff brought stands at a request boundary, and is paused there until the gateway says
 * `take` or `keep`.
 */
export interface YieldMessage extends HandoffReference {
  readonly type: 'yield'
  readonly flow: FlowKey
  /** It stands between two writes of a response instead: only another server can go on with it. */
  readonly responding: boolean
  /** The next request, as far as it was read: its head when that is complete. At most 64 KiB. */
  readonly request: Uint8Array
}

/** Gateway to server: the connection that this handoff brought stays where it is. */
export interface KeepMessage extends HandoffReference {
  readonly type: 'keep'
}

/** Gateway to server: bring the connection that this handoff brought to its next request boundary, and yield it. */
export interface RecallMessage extends HandoffReference {
  readonly type: 'recall'
  readonly flow: FlowKey
}

/** Gateway to server: freeze the connection and offer it, with this message's reference. The client's packets are held. */
export interface TakeMessage extends HandoffReference {
  readonly type: 'take'
  readonly flow: FlowKey
  /** The handoff that brought the connection to the server. */
  readonly connection: HandoffReference
}

/** Gateway to the server that offered the connection: it lives elsewhere now; close the frozen socket silently. */
export interface ReleaseMessage extends HandoffReference {
  readonly type: 'release'
}

/** Gateway to the server that offered the connection: it is lost; tell the client with an RST. */
export interface ResetMessage extends HandoffReference {
  readonly type: 'reset'
}

/** Gateway to server: report your connections. */
export interface AuditMessage {
  readonly type: 'audit'
  /** Any u32; the report repeats it. */
  readonly nonce: number
}

/**
 * `owned`: the application has it. `prepared`: restored, waits for the commit of its handoff. `offered`: frozen, waits for the gateway's
 * decision on its handoff, which is that of the offer.
 */
export const REPORT_STATES = ['owned', 'prepared', 'offered'] as const

/** A connection that a server has. */
export interface ReportedConnection extends HandoffReference {
  readonly flow: FlowKey
  readonly state: (typeof REPORT_STATES)[number]
  /** With `offered`: the handoff that brought the connection to the server. */
  readonly connection?: HandoffReference
}

/** Server to gateway: the connections that the gateway has given to this host, or a part of them. */
export interface ReportMessage {
  readonly type: 'report'
  readonly nonce: number
  /** Nothing more follows. */
  readonly last: boolean
  /** At most 512. */
  readonly connections: readonly ReportedConnection[]
}

/** Either way: is the other host there? */
export interface PingMessage {
  readonly type: 'ping'
  /** Any u32; the answer repeats it. */
  readonly nonce: number
}

/** The answer to a ping. */
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
  | YieldMessage
  | KeepMessage
  | RecallMessage
  | TakeMessage
  | ReleaseMessage
  | ResetMessage
  | AuditMessage
  | ReportMessage
  | PingMessage
  | PongMessage

/** An offer on its way out may carry the snapshot itself: it is then encoded straight into the message. */
export interface OutgoingOffer extends Omit<OfferMessage, 'snapshot'> {
  readonly snapshot: TcpSnapshot | Uint8Array
}

/** What may be sent on a control channel. */
export type OutgoingMessage = Message | OutgoingOffer

/** What a coordinator sends to a target. */
export type ToTargetMessage = OfferMessage | CommitMessage | AbortMessage
/** What a target answers. */
export type FromTargetMessage = AcceptMessage | RefuseMessage | CommittedMessage
/** What the gateway decides on a connection that a server has offered. */
export type ToOriginMessage = AbortMessage | ReleaseMessage | ResetMessage
