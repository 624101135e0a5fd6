import {
  type Clock,
  type FlowKey,
  type Redirector,
  type ReportedConnection,
  type ReportMessage,
  type Rule,
  reconcile,
  type ServerReport,
  type SteerTarget,
  sameHandoff,
  sameTarget,
  type Verdict,
} from '@xoffload/core'
import { systemClock } from '../runtime/clock.ts'
import { errorText, type Log } from '../runtime/log.ts'
import type { FlowEntry } from './flow-table.ts'
import type { Journal } from './journal.ts'
import type { Server } from './server.ts'
import { StaleRules } from './stale-rules.ts'
import type { Steering } from './steering.ts'

/** How long servers may take to connect and report after the start, until what they have is taken for gone, in milliseconds. */
const REPORT_TIMEOUT = 30_000
/** How often every server is asked for its connections, in milliseconds. */
const AUDIT_INTERVAL = 60_000

/** What a {@link Recovery} works with. */
export interface RecoveryOptions {
  readonly steering: Steering
  readonly redirector: Redirector
  readonly servers: readonly Server[]
  readonly journal: Journal
  readonly log: Log
  /** Whether this process has the connection itself. */
  readonly here: (flow: FlowKey) => boolean
  /** Whether the flow is one of a service address: no server may claim any other. */
  readonly serves: (flow: FlowKey) => boolean
  /** The most connections that a server may report. */
  readonly maximumConnections: number
  /** Default: the system's. */
  readonly clock?: Clock
}

/** A server's answer to one question, as far as it has arrived. */
interface Audit {
  readonly nonce: number
  /** When the question was asked, milliseconds of `performance.now()`. */
  readonly asked: number
  readonly connections: Map<string, ReportedConnection>
}

/**
 * Brings rules and connections into agreement (invariant 8). At first rules of an earlier process may be there: the servers' first reports
 * tell what has become of their flows. Later each server is asked when it has connected, and now and then, and its answer is compared
 * with what is known here. An answer is only used when it arrives: it is in order with all else that its server says.
 */
export class Recovery {
  readonly #options: RecoveryOptions
  /** Rules of an earlier process of which nothing is known yet. */
  readonly #adopted = new Map<string, Rule>()
  readonly #audits = new Map<Server, Audit>()
  /** The servers' first answers, until all are there. */
  readonly #first = new Map<Server, Audit>()
  /** Flows that were decided on since the start: a first answer says nothing of what has happened since. */
  readonly #decided = new Set<string>()
  readonly #asked = new Map<Server, number>()
  /** Once the rules of an earlier process are decided on. */
  readonly #stale: StaleRules
  #found = 0
  #deadline = 0
  #settled = false

  constructor(options: RecoveryOptions) {
    const { steering, redirector, log } = options
    this.#options = options
    this.#stale = new StaleRules({
      list: () => redirector.list(),
      clock: options.clock ?? systemClock,
      isJustified: (flow) => steering.flows.get(flow) !== undefined || steering.coordinator.isInFlight(flow),
      remove: (flow) => {
        this.#mended(flow, 'gone')
        steering.lost(flow)
      },
      onError: (error) => log('errors', { event: 'error', step: 'list the rules', error: errorText(error) }),
    })
  }

  /** Takes over the rules that an earlier process has left. Their flows go on meanwhile. */
  async adopt(): Promise<void> {
    for await (const { rule } of this.#options.redirector.list()) this.#adopted.set(rule.flow.id, rule)
    this.#found = this.#adopted.size
    this.#deadline = performance.now() + REPORT_TIMEOUT
    if (this.#adopted.size > 0) this.#options.log('info', { event: 'rules-adopted', count: this.#adopted.size })
  }

  /** How many rules an earlier process had left. */
  get found(): number {
    return this.#found
  }

  /** Whether the flow has a rule of an earlier process on which nothing was decided yet. */
  isUndecided(flow: FlowKey): boolean {
    return this.#adopted.has(flow.id)
  }

  /** Asks the server for its connections: its control channel is up, or it is time again. */
  audit(server: Server): void {
    const nonce = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
    const asked = performance.now()
    this.#audits.set(server, { nonce, asked, connections: new Map() })
    this.#asked.set(server, asked)
    try {
      server.destination?.channel.send({ type: 'audit', nonce })
    } catch (error) {
      // It is asked again when its channel has returned, or in a while.
      this.#options.log('info', { event: 'not-sent', server: server.name, message: 'audit', reason: errorText(error) })
    }
  }

  /** A part of a server's answer. */
  reported(server: Server, { nonce, last, connections }: ReportMessage): void {
    const audit = this.#audits.get(server)
    // An answer to an earlier question, on a connection that has broken since.
    if (audit === undefined || audit.nonce !== nonce) return
    for (const connection of connections) {
      if (this.#options.serves(connection.flow)) audit.connections.set(connection.flow.id, connection)
    }
    if (audit.connections.size > this.#options.maximumConnections) {
      // Not used at all: what is not in a part of an answer would be taken for gone.
      this.#audits.delete(server)
      this.#options.log('errors', { event: 'report-refused', server: server.name, reason: 'too many connections' })
      return
    }
    if (!last) return
    this.#audits.delete(server)
    if (this.#settled) {
      this.#compare(server, audit)
      return
    }
    this.#first.set(server, audit)
    this.#examineAll(audit)
  }

  /** To be called now and then. */
  sweep(): void {
    const now = performance.now()
    if (!this.#settled && (this.#allReported || now >= this.#deadline)) this.#settle()
    if (this.#settled) this.#stale.sweep()
    for (const server of this.#options.servers) {
      if (server.up && now - (this.#asked.get(server) ?? now) >= AUDIT_INTERVAL) this.audit(server)
    }
  }

  get #allReported(): boolean {
    return this.#options.servers.every((server) => this.#first.has(server))
  }

  /** What was not heard of by now does not exist. */
  #settle(): void {
    this.#settled = true
    for (const audit of this.#first.values()) this.#examineAll(audit)
    for (const rule of [...this.#adopted.values()]) this.#examine(rule.flow)
    this.#first.clear()
    this.#decided.clear()
  }

  #examineAll({ connections }: Audit): void {
    for (const { flow } of connections.values()) this.#examine(flow)
    for (const rule of [...this.#adopted.values()]) if (!connections.has(rule.flow.id)) this.#examine(rule.flow)
  }

  /** Decides on a flow of an earlier process, as soon as enough is known of it. */
  #examine(flow: FlowKey): void {
    const { steering, here } = this.#options
    const rule = this.#adopted.get(flow.id)
    // What has begun since decides for itself.
    const entry = steering.flows.get(flow)
    if (steering.coordinator.isInFlight(flow) || entry !== undefined) {
      this.#adopted.delete(flow.id)
      this.#decided.add(flow.id)
      this.#remindAll(flow, entry)
      return
    }
    if (this.#decided.has(flow.id)) return
    const reports: ServerReport[] = []
    for (const [server, { connections }] of this.#first) {
      const connection = connections.get(flow.id)
      if (connection !== undefined) reports.push({ server: server.name, connection })
    }
    const verdict = reconcile(rule, reports, {
      complete: this.#settled || this.#allReported,
      serverOf: (target) => this.#options.servers.find((server) => leadsTo(target, server))?.name,
      here: here(flow),
    })
    if (verdict.state === 'undecided') return
    this.#decided.add(flow.id)
    this.#carryOut(flow, rule, verdict)
  }

  /** Servers that have reported after it was decided on the flow. */
  #remindAll(flow: FlowKey, entry: FlowEntry | undefined): void {
    if (entry === undefined || entry.state === 'moving') return
    for (const [server, { connections }] of this.#first) {
      const connection = connections.get(flow.id)
      if (connection !== undefined) this.#remind(server, entry, connection)
    }
  }

  /** Compares a server's later answer with what it should have. */
  #compare(server: Server, { asked, connections }: Audit): void {
    const { steering, here } = this.#options
    for (const entry of steering.flows.of(server)) {
      // One that came after the question may be missing in the answer.
      if (entry.state !== 'steered' || entry.since >= asked || connections.has(entry.flow.id)) continue
      this.#mended(entry.flow, 'ended')
      steering.end(entry)
    }
    for (const connection of connections.values()) {
      const { flow } = connection
      const entry = steering.flows.get(flow)
      if (steering.coordinator.isInFlight(flow) || entry?.state === 'moving' || entry?.state === 'ended') continue
      if (entry === undefined) {
        if (connection.state !== 'owned' || here(flow)) continue
        const reports = [{ server: server.name, connection }]
        this.#carryOut(flow, undefined, reconcile(undefined, reports, { complete: false, serverOf: () => undefined }))
      } else this.#remind(server, entry, connection)
    }
  }

  /** The server has not heard what was decided on a handoff. */
  #remind(server: Server, entry: FlowEntry, { state, handoff, epoch }: ReportedConnection): void {
    const itCame = sameHandoff(entry.reference, { handoff, epoch })
    const channel = server.destination?.channel
    if (channel === undefined || !channel.connected || state === 'owned') return
    if (state === 'prepared') {
      if (!itCame) channel.send({ type: 'abort', handoff, epoch })
    } else if (entry.server === server) channel.send({ type: 'abort', handoff, epoch })
    else if (itCame) channel.send({ type: 'release', handoff, epoch })
  }

  #carryOut(flow: FlowKey, rule: Rule | undefined, verdict: Verdict): void {
    this.#adopted.delete(flow.id)
    this.#apply(flow, rule, verdict).catch((error) =>
      this.#options.log('errors', { event: 'error', flow, step: 'mend', error: errorText(error) }),
    )
  }

  async #apply(flow: FlowKey, rule: Rule | undefined, verdict: Verdict): Promise<void> {
    const { steering, redirector } = this.#options
    const server = this.#server(verdict.server)
    if (verdict.state === 'steered' && server !== undefined && verdict.handoff !== undefined) {
      steering.flows.adopt(flow, server, verdict.handoff)
    }
    if (verdict.rule !== 'keep') this.#mended(flow, verdict.state)
    if (verdict.rule === 'remove') steering.lost(flow)
    else if (verdict.rule !== 'keep') {
      const target = this.#server(verdict.rule.steer)?.destination?.steer
      if (target !== undefined) await redirector.put({ action: 'steer', flow, target, handoff: verdict.rule.handoff })
    }
    // The rule is in force: what a server does now is right.
    for (const { to, message } of verdict.messages) this.#server(to)?.destination?.channel.send(message)
    if (verdict.state !== 'ended' || rule?.action !== 'steer') return
    this.#mended(flow, verdict.state)
    steering.linger(flow, rule.target)
  }

  #mended(flow: FlowKey, state: Verdict['state']): void {
    this.#options.journal.mendedRules++
    this.#options.log('info', { event: 'rule-mended', flow, state })
  }

  #server(name: string | undefined): Server | undefined {
    return this.#options.servers.find((server) => server.name === name)
  }
}

function leadsTo(target: SteerTarget, { destination }: Server): boolean {
  return destination !== undefined && sameTarget(destination.steer, target)
}
