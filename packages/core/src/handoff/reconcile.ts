import type {
  AbortMessage,
  CommitMessage,
  HandoffReference,
  ReleaseMessage,
  ReportedConnection,
  ResetMessage,
} from '../protocol/messages.ts'
import { referenceOf, sameHandoff } from '../protocol/reference.ts'
import type { HoldRule, Rule, SteerRule, SteerTarget } from '../redirector.ts'

/** A connection of the flow, and the server that has reported it. */
export interface ServerReport {
  readonly server: string
  readonly connection: ReportedConnection
}

/** What is known besides the rule and the reports. */
export interface ReconcileOptions {
  /** Every server has reported, or was given up: what a server was not heard of does not exist. */
  readonly complete: boolean
  /** The server at which the connection's packets arrive, undefined when none is known by that address. */
  readonly serverOf: (target: SteerTarget) => string | undefined
  /** This process has the connection itself. Default false, as after a crash: what it had is gone. */
  readonly here?: boolean
}

/** What a server is to be told, with the reference of the handoff that it has reported. */
export interface MendingMessage {
  readonly to: string
  readonly message: AbortMessage | CommitMessage | ReleaseMessage | ResetMessage
}

/** What becomes of one flow. The rule comes first, then the messages in their order: a commit is sent when its rule is in force. */
export interface Verdict {
  /** `keep` leaves it as it is, also when there is none. `steer` names the server and the handoff for the rule. */
  readonly rule: 'keep' | 'remove' | { readonly steer: string; readonly handoff: HandoffReference }
  readonly messages: readonly MendingMessage[]
  /**
   * `steered`: the connection lives at `server`, where `handoff` has brought it. `ended`: it does not live any more, and its rule catches
   * late packets for a while. `gone`: nothing is left of it. `here`: it lives in this process. `undecided`: wait for more reports.
   */
  readonly state: 'steered' | 'ended' | 'gone' | 'here' | 'undecided'
  readonly server?: string
  readonly handoff?: HandoffReference
}

const UNDECIDED: Verdict = { rule: 'keep', messages: [], state: 'undecided' }

/**
 * Compares the rule of a flow with what servers report of it, and says how to mend what does not agree (invariant 8). For a gateway that
 * has adopted the rules of an earlier process, and for a control channel that has returned and may have lost a decision. Pure, and safe
 * to call again with the same reports. Not to be called for a flow of which a handoff is in flight in this process.
 *
 * The rule is the record of what was decided: behind `steer` a handoff is committed, behind `hold` it is not.
 */
export function reconcile(
  rule: Rule | undefined,
  reports: readonly ServerReport[],
  options: ReconcileOptions,
): Verdict {
  const known = reports.filter((report) => !reports.some((other) => isOffer(other, report)))
  if (options.here) return { rule: 'keep', messages: farewells(known, undefined, 'release'), state: 'here' }
  if (rule === undefined) return withoutRule(known, options)
  return rule.action === 'hold' ? behindHold(rule, known, options) : behindSteer(rule, known, options)
}

/** Whether one report says that the connection of the other is being offered. */
function isOffer(one: ServerReport, other: ServerReport): boolean {
  return one.server === other.server && sameHandoff(other.connection, one.connection.connection)
}

/** Committed: the connection is at the rule's server or nowhere. */
function behindSteer(rule: SteerRule, reports: readonly ServerReport[], options: ReconcileOptions): Verdict {
  const server = options.serverOf(rule.target)
  const there = reports.filter((report) => report.server === server)
  const right = rule.ended ? undefined : rule.handoff
  // The rule was put back, so the handoff was undone. The server has not heard of it.
  const offer = find(there, 'offered')
  if (offer) return undo(offer, reports, right)
  const owner = find(there, 'owned')
  if (owner) return settle(owner, reports, right)
  const committed = there.find((report) => report.connection.state === 'prepared' && refersTo(report, rule.handoff))
  if (committed) return commit(committed, reports, right)
  if (!options.complete && !rule.ended) return UNDECIDED
  const stray = find(reports, 'owned')
  if (stray) return settle(stray, reports)
  // Nobody knows how far it came at its server. So who offered it must not go on with it, and its client is told, unless it has ended as it should.
  const messages = reports.map((report) =>
    farewell(report, !rule.ended && refersTo(report, rule.handoff) ? 'reset' : 'release'),
  )
  return { rule: 'keep', messages, state: 'ended' }
}

/** Not committed: the connection is at the origin, unless that was this gateway, whose earlier process has taken it along. */
function behindHold(rule: HoldRule, reports: readonly ServerReport[], { complete }: ReconcileOptions): Verdict {
  const concerned = reports.filter((report) => refersTo(report, rule.handoff))
  const target = find(concerned, 'prepared')
  const offer = find(concerned, 'offered')
  // Target and frozen origin are as the earlier process has left them: nothing is in the way of the commit. A hold that is silent
  // belongs to an origin here, of which nothing can have reached the client since: before it is thawed its hold is no longer silent,
  // since a program in front of the gateway may go on with it (see undoOffer in coordinator-undo.ts).
  if (target && (offer || rule.silent)) return commit(target, reports)
  if (offer) return undo(offer, reports)
  const owner = find(reports, 'owned')
  if (owner) {
    const verdict = settle(owner, reports)
    // It may have been asked for the connection, and not have offered it yet.
    const abort = rule.handoff && { to: owner.server, message: { type: 'abort', ...rule.handoff } as const }
    return abort ? { ...verdict, messages: [abort, ...verdict.messages] } : verdict
  }
  if (!complete) return UNDECIDED
  // A target whose origin is a server that has vanished: the origin may have been thawed and gone on before.
  return { rule: 'remove', messages: farewells(reports, undefined, 'reset'), state: 'gone' }
}

/** The gateway's host has crashed, or it had given the connection up. */
function withoutRule(reports: readonly ServerReport[], { complete }: ReconcileOptions): Verdict {
  const owner = find(reports, 'owned')
  if (owner) return settle(owner, reports)
  const offer = find(reports, 'offered')
  const target = reports.find((report) => report.connection.state === 'prepared' && refersTo(report, offer?.connection))
  if (target) return commit(target, reports)
  if (!complete) return UNDECIDED
  return { rule: 'keep', messages: farewells(reports, undefined, 'reset'), state: 'gone' }
}

/** The connection lives at the server of the report. `right` is the handoff of a rule that steers there already. */
function settle(report: ServerReport, reports: readonly ServerReport[], right?: HandoffReference): Verdict {
  return steered(report.server, report.connection, right, farewells(reports, report, 'release'))
}

/** The target has restored the connection, and gets it. */
function commit(report: ServerReport, reports: readonly ServerReport[], right?: HandoffReference): Verdict {
  const { server, connection } = report
  // Whether the client is owed an acknowledgement is not known any more; one too many does no harm.
  const message = { type: 'commit', ...referenceOf(connection), acknowledge: true } as const
  return steered(server, connection, right, [{ to: server, message }, ...farewells(reports, report, 'release')])
}

/** The origin has frozen the connection, and goes on with it. */
function undo(report: ServerReport, reports: readonly ServerReport[], right?: HandoffReference): Verdict {
  const { server, connection } = report
  const message = { type: 'abort', ...referenceOf(connection) } as const
  const messages = [{ to: server, message }, ...farewells(reports, report, 'release')]
  return steered(server, connection.connection ?? connection, right, messages)
}

function steered(
  server: string,
  reference: HandoffReference,
  right: HandoffReference | undefined,
  messages: readonly MendingMessage[],
): Verdict {
  const handoff = referenceOf(reference)
  const rule = sameHandoff(handoff, right) ? 'keep' : { steer: server, handoff }
  return { rule, messages, state: 'steered', server, handoff }
}

/** What all but the chosen one are told. */
function farewells(
  reports: readonly ServerReport[],
  chosen: ServerReport | undefined,
  offered: 'release' | 'reset',
): MendingMessage[] {
  return reports.filter((report) => !isOf(report, chosen)).map((report) => farewell(report, offered))
}

/** Whether two reports say the same. */
function isOf({ server, connection }: ServerReport, chosen: ServerReport | undefined): boolean {
  return server === chosen?.server && sameHandoff(connection, chosen.connection)
}

/** Who has offered the connection closes its frozen socket, silently or not; everybody else forgets the handoff. */
function farewell({ server, connection }: ServerReport, offered: 'release' | 'reset'): MendingMessage {
  const type = connection.state === 'offered' ? offered : 'abort'
  return { to: server, message: { type, ...referenceOf(connection) } }
}

function find(reports: readonly ServerReport[], state: ReportedConnection['state']): ServerReport | undefined {
  return reports.find(({ connection }) => connection.state === state)
}

function refersTo({ connection }: ServerReport, handoff: HandoffReference | undefined): boolean {
  return sameHandoff(connection, handoff)
}
