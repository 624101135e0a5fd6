import type { HandoffOutcome } from '../handoff/outcome.ts'
import type { NegotiatedOptions } from '../snapshot.ts'
import { Client } from './client.ts'
import { addSocket } from './connection-ports.ts'
import { ControlLink } from './control-link.ts'
import { checkEnd } from './end-checks.ts'
import { SimulatedFlow } from './flow.ts'
import { Front } from './front.ts'
import { SimulatedGateway } from './gateway.ts'
import { Kernel } from './kernel.ts'
import { ACTIVE_TIME, type CrashPlan, LONG_OUTAGE, makePlan, type Plan } from './plan.ts'
import { SimulatedProcess } from './process.ts'
import { Random } from './random.ts'
import type { Faults } from './redirector.ts'
import type { Sabotage } from './sabotage.ts'
import { SimulatedServer } from './server.ts'
import { TcpSocket } from './tcp-socket.ts'
import { hostNames, World } from './world.ts'

/** How a schedule is run. */
export interface SimulationOptions {
  /** Breaks the code of an invariant on purpose. */
  readonly sabotage?: Sabotage | undefined
  /** Gets every step as a line. */
  readonly trace?: (line: string) => void
}

/** What came of one seed. */
export interface SimulationReport {
  readonly seed: number
  /** What must never happen and did; none when all invariants held. The first one counts. */
  readonly violations: readonly string[]
  /** Handoffs by direction and result, as `gateway-to-server handed-off`. */
  readonly outcomes: ReadonlyMap<string, number>
  /** Connections by what became of them at their client: `open`, `closed`, `reset`, `aborted` or `timed out`. */
  readonly connections: ReadonlyMap<string, number>
  readonly crashes: number
  readonly packets: number
  readonly events: number
}

/** More events than any schedule has that comes to its end. */
const MAXIMUM_EVENTS = 200_000
/** Turns of the microtask queue that callbacks of promises are given before time goes on. */
const TURNS = 4

/**
 * Runs a gateway, servers and clients, the network between them and the faults of one schedule, all of it chosen by the seed: the same
 * seed does the same, on every machine. The drivers and state machines are the real ones; sockets, rules, channels and the clock
 * are simulated. Invariants 1 to 8 of DESIGN.md are checked with every step.
 */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationReport> {
  const random = new Random(seed)
  const simulation = new Simulation(new World(makePlan(random), random, options.sabotage, options.trace))
  await simulation.run()
  return simulation.report(seed)
}

/** The hosts of one schedule, and who of them is alive. */
export class Simulation {
  readonly world: World
  readonly servers: (SimulatedServer | undefined)[] = []
  gateway: SimulatedGateway | undefined
  readonly #plan: Plan
  readonly #links: ControlLink[] = []
  readonly #outcomes = new Map<string, number>()
  readonly #front: Front | undefined
  readonly #faults: Faults
  readonly #crashes: CrashPlan[]
  #died = 0
  #epoch: number
  #events = 0

  constructor(world: World) {
    this.world = world
    const { plan, random } = world
    this.#plan = plan
    this.#front = plan.front ? new Front(world) : undefined
    this.#epoch = random.next()
    this.#crashes = [...plan.crashes]
    this.#faults = { redirector: { left: plan.redirectorFaults }, application: { left: plan.applicationFaults } }
    world.note(() => JSON.stringify(plan))
  }

  async run(): Promise<void> {
    const { world } = this
    for (const name of hostNames.slice(0, 1 + this.#plan.servers)) new Kernel(world, name)
    for (const name of hostNames.slice(1, 1 + this.#plan.servers))
      this.#links.push(new ControlLink(world, 'gateway', name))
    this.#startGateway()
    for (let index = 0; index < this.#plan.servers; index++) this.#startServer(index)
    for (let index = 0; index < this.#plan.connections; index++) this.#connect(index)
    for (const { server, time, downtime } of this.#plan.outages) {
      world.queue.after(time, () => this.#breakLink(server, downtime))
    }
    world.queue.after(ACTIVE_TIME, () => {
      world.calm = true
    })
    await this.#drain()
    // What the gateway asks its servers now and then.
    this.gateway?.process.enter(() => this.#audit())
    await this.#drain()
    // Keep-alive probes, from both ends.
    for (let round = 0; round < 3; round++) {
      for (const client of world.clients) client.probe()
      for (const kernel of world.kernels.values()) {
        for (const socket of [...kernel.sockets.values()]) if (!socket.frozen) socket.probe()
      }
      await this.#drain()
    }
    checkEnd(this)
  }

  report(seed: number): SimulationReport {
    const connections = new Map<string, number>()
    for (const { state } of this.world.clients) connections.set(state, (connections.get(state) ?? 0) + 1)
    return {
      seed,
      violations: this.world.violations,
      outcomes: this.#outcomes,
      connections,
      crashes: this.#died,
      packets: this.world.network.packets,
      events: this.#events,
    }
  }

  /** Until nothing is scheduled any more. */
  async #drain(): Promise<void> {
    const { world } = this
    for (;;) {
      if (world.stirred) {
        world.stirred = false
        for (let turn = 0; turn < TURNS; turn++) await undefined
      }
      if (world.violations.length > 0) return
      if (!world.queue.step()) {
        if (!world.stirred) return
        continue
      }
      this.#events += 1
      if (this.#events > MAXIMUM_EVENTS) {
        world.violate(8, 'it comes to no end')
        return
      }
    }
  }

  #startGateway(): void {
    const { world } = this
    const kernel = world.kernels.get('gateway') as Kernel
    const process = new SimulatedProcess(world, kernel, this.#nextCrash('gateway', 0))
    if (world.sabotage !== 'reuse-epoch') this.#epoch = (this.#epoch + 1) >>> 0
    const onOutcome = (direction: string, { result }: HandoffOutcome): void => {
      const key = `${direction} ${result}`
      this.#outcomes.set(key, (this.#outcomes.get(key) ?? 0) + 1)
    }
    const gateway = new SimulatedGateway(process, this.#epoch, this.#faults, onOutcome, this.#front)
    this.gateway = gateway
    for (const link of this.#links) link.attach('gateway', gateway)
    process.onDeath = (what, downtime) => {
      this.#died += 1
      this.gateway = undefined
      this.#front?.gatewayDied()
      this.#blame(what === 'host', 'the host of the gateway crashed')
      this.#blame(this.#plan.impatient, 'a gateway was not waited for')
      for (const link of this.#links) link.detach('gateway')
      this.#restart(kernel, downtime, () => this.#startGateway())
    }
  }

  #startServer(index: number): void {
    const { world } = this
    const kernel = world.kernels.get(hostNames[index + 1] as string) as Kernel
    const process = new SimulatedProcess(world, kernel, this.#nextCrash('server', index))
    const server = new SimulatedServer(process, this.#faults)
    this.servers[index] = server
    const link = this.#links[index] as ControlLink
    link.attach('server', server)
    process.onDeath = (_what, downtime) => {
      this.#died += 1
      this.#blame(this.#plan.impatient, 'a server was not waited for')
      this.servers[index] = undefined
      link.detach('server')
      this.#restart(kernel, downtime, () => this.#startServer(index))
    }
  }

  #restart(kernel: Kernel, downtime: number, start: () => void): void {
    this.world.queue.after(downtime * 1000, () => {
      kernel.up = true
      this.world.note(() => `${kernel.name}: starts again`)
      start()
    })
  }

  /** A cause for every connection to end. */
  #blame(really: boolean, cause: string): void {
    if (really) for (const flow of this.world.flows) flow.causes.add(cause)
  }

  #nextCrash(victim: CrashPlan['victim'], server: number): CrashPlan | undefined {
    const index = this.#crashes.findIndex((crash) => {
      return crash.victim === victim && (victim === 'gateway' || crash.server === server)
    })
    return index < 0 ? undefined : this.#crashes.splice(index, 1)[0]
  }

  #breakLink(server: number, downtime: number): void {
    if (downtime >= LONG_OUTAGE || this.#plan.impatient) {
      this.#blame(true, 'a control channel was down for too long')
    }
    this.#links[server]?.break(downtime)
  }

  #audit(): void {
    for (const server of this.gateway?.servers ?? []) this.gateway?.recovery.ask(server)
  }

  #connect(index: number): void {
    const { world } = this
    const { random, queue } = world
    const lengths = { request: random.between(10, 150), response: random.between(20, 600), count: random.between(1, 5) }
    const flow = new SimulatedFlow(index, negotiate(random), lengths)
    world.addFlow(flow)
    const kernel = world.kernels.get('gateway') as Kernel
    const sequences = [random.next(), random.next()] as const
    const client = new Client(world, kernel, flow, [sequences[0], sequences[1]], {
      pipelining: random.between(1, 3),
      closes: random.chance(0.6),
      halfCloses: random.chance(0.1),
      abortAt: random.chance(0.1) ? random.between(1, ACTIVE_TIME) : 0,
    })
    world.clients.push(client)
    const socket = new TcpSocket(kernel, flow, {
      toClient: true,
      sendSequence: sequences[1],
      receiveSequence: sequences[0],
      timestampOffset: random.next(),
    })
    const { gateway } = this
    if (gateway === undefined) return
    addSocket(gateway.process, socket)
    gateway.accept(socket)
    queue.after(random.below(10_000), () => client.start())
    for (let move = 0; move < this.#plan.moves; move++) {
      queue.after(random.below(ACTIVE_TIME), () => this.gateway?.process.enter(() => this.gateway?.order(flow)))
    }
  }
}

function negotiate(random: Random): NegotiatedOptions {
  return {
    maximumSegmentSize: 1460,
    selectiveAcknowledgement: random.chance(0.5),
    ...(random.chance(0.5) && { windowScale: { send: random.below(15), receive: random.below(15) } }),
    ...(random.chance(0.7) && { timestamp: 1 }),
  }
}
