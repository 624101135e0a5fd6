import { reconcile, type ServerReport, type Verdict } from '../handoff/reconcile.ts'
import type { ReportedConnection, ReportMessage } from '../protocol/messages.ts'
import type { SimulatedFlow } from './flow.ts'
import type { KnownServer, SimulatedGateway } from './gateway.ts'
import { REPORT_TIMEOUT } from './plan.ts'
import { hostNames, World } from './world.ts'

/** Brings the gateway's rules and what the servers have into agreement, by {@link reconcile}. */
export class Recovery {
  readonly #gateway: SimulatedGateway
  /** Flows whose rules an earlier process has left, until it is known what has become of them. */
  readonly #adopted = new Set<SimulatedFlow>()
  /** Flows whose rules are being removed. Redirectors carry out the operations on a flow in their order; attempts here have none. */
  readonly #removing = new Set<SimulatedFlow>()
  /** The servers' first answers; later ones are compared as they come. */
  readonly #first = new Map<KnownServer, Map<SimulatedFlow, ReportedConnection>>()
  #settled = false

  constructor(gateway: SimulatedGateway) {
    this.#gateway = gateway
    const { world, clock } = gateway.process
    for (const { flow } of gateway.redirector.list()) this.#adopted.add(world.flowOf(flow))
    clock.after(REPORT_TIMEOUT, () => this.#settle())
  }

  /** Whether the rule of the flow is being removed: a handoff would put its lock first. */
  isMending(flow: SimulatedFlow): boolean {
    return this.#removing.has(flow)
  }

  /**
   * Looks whether the flow has a rule that nothing justifies: a handoff that has not come to its lock leaves the one of an earlier process.
   * A gateway that looks through all its rules now and then finds it later.
   */
  sweep(flow: SimulatedFlow): void {
    const { process, flows, coordinator } = this.#gateway
    const justified = flows.has(flow) || coordinator.isInFlight(flow.key) || this.#removing.has(flow)
    if (process.kernel.rule(flow) !== undefined && !justified) this.#remove(flow)
  }

  ask(server: KnownServer): void {
    this.#gateway.send(server, { type: 'audit', nonce: 1 })
  }

  reported(server: KnownServer, { connections }: ReportMessage): void {
    const { world } = this.#gateway.process
    if (world.sabotage === 'skip-reconciliation') return
    const reported = new Map(connections.map((connection) => [world.flowOf(connection.flow), connection]))
    this.#compare(server, reported)
    if (this.#settled) return
    this.#first.set(server, reported)
    this.#examineAll()
    if (this.#complete) this.#settle()
  }

  get #complete(): boolean {
    return this.#gateway.servers.every((server) => this.#first.has(server))
  }

  /** What was not heard of by now does not exist. */
  #settle(): void {
    if (this.#settled || this.#gateway.process.world.sabotage === 'skip-reconciliation') return
    this.#settled = true
    for (const { name } of this.#gateway.servers.filter((server) => !this.#first.has(server))) {
      for (const flow of this.#gateway.process.world.flows) flow.causes.add(`${name} was not heard of in time`)
    }
    this.#examineAll()
    this.#first.clear()
  }

  #examineAll(): void {
    const flows = new Set(this.#adopted)
    for (const reported of this.#first.values()) for (const flow of reported.keys()) flows.add(flow)
    for (const flow of flows) this.#examine(flow)
  }

  /** Decides on a flow of an earlier process, as soon as enough is known of it. */
  #examine(flow: SimulatedFlow): void {
    const { coordinator, flows } = this.#gateway
    // What has begun since decides for itself.
    if (coordinator.isInFlight(flow.key) || flows.has(flow)) {
      this.#decided(flow)
      return
    }
    const reports: ServerReport[] = []
    for (const [{ name }, reported] of this.#first) {
      const connection = reported.get(flow)
      if (connection !== undefined) reports.push({ server: name, connection })
    }
    this.#decide(flow, reports, this.#settled || this.#complete)
  }

  /** Compares a later answer of a server with what is known of its connections. */
  #compare(server: KnownServer, reported: ReadonlyMap<SimulatedFlow, ReportedConnection>): void {
    const { coordinator, flows } = this.#gateway
    const mine = [...flows.values()].filter((entry) => entry.server === server).map(({ flow }) => flow)
    for (const flow of new Set([...reported.keys(), ...mine])) {
      const entry = flows.get(flow)
      // Other servers may know more of it.
      if (entry === undefined && !this.#settled) continue
      if (coordinator.isInFlight(flow.key) || (entry !== undefined && entry.state !== 'steered')) continue
      const connection = reported.get(flow)
      const reports: ServerReport[] = connection === undefined ? [] : [{ server: server.name, connection }]
      if (entry !== undefined && entry.server !== server) {
        const known = { flow: flow.key, ...entry.reference, state: 'owned' } as const
        reports.push({ server: entry.server.name, connection: known })
      }
      this.#decide(flow, reports, true)
    }
  }

  #decide(flow: SimulatedFlow, reports: readonly ServerReport[], complete: boolean): void {
    const { process, flows } = this.#gateway
    const rule = process.kernel.rule(flow)
    const verdict = reconcile(rule, reports, {
      complete,
      serverOf: (target) => World.hostOf(target),
      here: this.#gateway.has(flow),
    })
    if (verdict.state === 'undecided') return
    this.#decided(flow)
    if (verdict.rule !== 'keep' || verdict.messages.length > 0 || verdict.state === 'ended') {
      process.world.note(() => `gateway: mends ${flow}: ${JSON.stringify(verdict)} from ${JSON.stringify(reports)}`)
    }
    const server = this.#server(verdict.server)
    const { handoff } = verdict
    if (verdict.state === 'ended') {
      const entry = flows.get(flow) ?? this.#adopt(flow)
      if (entry !== undefined) this.#gateway.end(entry)
    }
    if (verdict.rule === 'keep') {
      if (server !== undefined && handoff !== undefined) this.#keep(flow, server, verdict)
      this.#tell(verdict)
    } else if (verdict.rule === 'remove') {
      flows.delete(flow)
      this.#remove(flow, () => this.#tell(verdict))
    } else if (server !== undefined && handoff !== undefined) this.#steer(flow, server, verdict)
  }

  /** From here on the first reports of the flow are old. */
  #decided(flow: SimulatedFlow): void {
    this.#adopted.delete(flow)
    for (const reported of this.#first.values()) reported.delete(flow)
  }

  #remove(flow: SimulatedFlow, then: () => void = () => {}): void {
    this.#removing.add(flow)
    this.#gateway.mend(
      () => this.#gateway.redirector.remove(flow.key),
      () => {
        this.#removing.delete(flow)
        then()
      },
    )
  }

  #keep(flow: SimulatedFlow, server: KnownServer, { handoff }: Verdict): void {
    if (this.#gateway.flows.get(flow) === undefined && handoff) this.#gateway.assign(flow, server, handoff)
  }

  #steer(flow: SimulatedFlow, server: KnownServer, verdict: Verdict): void {
    const { handoff } = verdict
    if (handoff === undefined) return
    const entry = this.#gateway.assign(flow, server, handoff)
    entry.state = 'mending'
    const target = World.steerTo(hostNames.indexOf(server.name))
    const { redirector, flows } = this.#gateway
    const wanted = (): boolean => flows.get(flow) === entry && entry.state === 'mending'
    this.#gateway.mend(
      // It may end before an attempt has succeeded.
      () => (wanted() ? redirector.put({ action: 'steer', flow: flow.key, target, handoff }) : Promise.resolve()),
      () => {
        if (wanted()) entry.state = 'steered'
        this.#tell(verdict)
      },
    )
  }

  /** An entry for a rule that an earlier process has left. */
  #adopt(flow: SimulatedFlow) {
    const rule = this.#gateway.process.kernel.rule(flow)
    if (rule?.action !== 'steer') return undefined
    const server = this.#server(World.hostOf(rule.target))
    return server && this.#gateway.assign(flow, server, rule.handoff ?? { handoff: 0, epoch: 0 })
  }

  #tell({ messages }: Verdict): void {
    for (const { to, message } of messages) {
      const server = this.#server(to)
      if (server !== undefined) this.#gateway.send(server, message)
    }
  }

  #server(name: string | undefined): KnownServer | undefined {
    return this.#gateway.servers.find((server) => server.name === name)
  }
}
