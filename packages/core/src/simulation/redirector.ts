import type { FlowKey } from '../flow.ts'
import type { RuleTable } from '../ports.ts'
import type { OperationOptions, PutOutcome, Rule } from '../redirector.ts'
import type { SimulatedFlow } from './flow.ts'
import { rejected, SimulatedFailure, type SimulatedProcess } from './process.ts'

/** How an operation goes wrong: at once, later, much later, or without ever being answered. */
type Fault = 'throws' | 'rejects' | 'is slow' | 'hangs'

/** Longer than any time limit of a step. */
const SLOW = 70_000

/** Operations of all hosts that may still go wrong. */
export interface FaultBudget {
  left: number
}

/** How much may go wrong yet. */
export interface Faults {
  readonly redirector: FaultBudget
  /** Of the application, and of the kernel that restores sockets. */
  readonly application: FaultBudget
}

/** A process's redirector: carries out its operations in the kernel, at once or after a while, or not at all. */
export class SimulatedRedirector implements RuleTable {
  readonly #process: SimulatedProcess
  readonly #budget: FaultBudget

  constructor(process: SimulatedProcess, budget: FaultBudget) {
    this.#process = process
    this.#budget = budget
  }

  put(rule: Rule, { signal }: OperationOptions = {}): Promise<PutOutcome> {
    const flow = this.#process.world.flowOf(rule.flow)
    const what = rule.action === 'hold' && rule.silent ? 'silence' : rule.action
    return this.#operate(what, flow, () => this.#put(flow, rule), signal)
  }

  remove(key: FlowKey, { signal }: OperationOptions = {}): Promise<boolean> {
    const flow = this.#process.world.flowOf(key)
    return this.#operate('remove', flow, () => this.#process.kernel.remove(flow), signal)
  }

  /** Rules that an earlier process has left. */
  list(): Rule[] {
    return [...this.#process.kernel.rules()]
  }

  #put(flow: SimulatedFlow, rule: Rule): PutOutcome {
    const { world, kernel } = this.#process
    const atGateway = kernel.name === 'gateway'
    if (rule.action === 'hold') {
      if (world.sabotage === (atGateway ? 'skip-lock' : 'speak-before-commit')) return 'active'
      if (!rule.silent && atGateway) {
        const before = kernel.rule(flow)
        const silent = before?.action === 'hold' && before.silent
        if (silent && world.sabotage === 'thaw-behind-silence') return 'active'
        // Its origin is about to be thawed: what it says is the connection's.
        const socket = kernel.sockets.get(flow)
        if (silent && socket !== undefined) socket.silenced = false
      }
      if (world.sabotage === 'stay-audible') kernel.put(flow, { ...rule, silent: false })
      else kernel.put(flow, rule)
      return 'active'
    }
    if (world.sabotage === 'steer-in-two-steps' && atGateway) {
      kernel.remove(flow)
      world.queue.after(2000, () => kernel.put(flow, rule))
    } else if (world.sabotage === 'report-before-active' && atGateway) {
      world.queue.after(5000, () => kernel.put(flow, rule))
    } else kernel.put(flow, rule)
    return 'active'
  }

  #operate<T>(what: string, flow: SimulatedFlow, carryOut: () => T, signal: AbortSignal | undefined): Promise<T> {
    const { world } = this.#process
    return this.#process.step(what, () => {
      const fault = this.#fault()
      if (fault !== undefined) world.note(() => `${this.#process.kernel.name}: ${what} for ${flow} ${fault}`)
      const timely = fault === undefined || fault === 'throws' || fault === 'rejects'
      if ((!timely && (what === 'steer' || what === 'remove')) || (fault && world.plan.impatient)) {
        flow.causes.add(`${what} was not answered in time`)
      }
      if (fault === 'throws') throw new SimulatedFailure(`${what} throws`)
      if (fault === 'rejects') return rejected(new SimulatedFailure(`${what} rejects`))
      if (fault === 'hangs') return this.#hang(carryOut)
      if (fault === undefined && world.plan.redirectorDelay === 0) return Promise.resolve(carryOut())
      const delay = fault === 'is slow' ? SLOW : world.random.below(world.plan.redirectorDelay)
      return this.#carryOutLater(what, flow, delay, carryOut, signal)
    })
  }

  #fault(): Fault | undefined {
    const { random, calm } = this.#process.world
    if (this.#budget.left === 0 || calm || !random.chance(0.2)) return undefined
    this.#budget.left -= 1
    return random.pick(['throws', 'rejects', 'is slow', 'hangs'] as const)
  }

  /** Carried out or not, and nobody will ever know. */
  #hang<T>(carryOut: () => T): Promise<T> {
    if (this.#process.world.random.chance(0.5)) carryOut()
    return new Promise(() => {})
  }

  /** Whether the kernel finishes a call though its process has been killed meanwhile: not when the next process has begun. */
  #isFinished(): boolean {
    const { world, kernel, number } = this.#process
    return kernel.up && kernel.processes === number && world.random.chance(0.5)
  }

  #carryOutLater<T>(
    what: string,
    flow: SimulatedFlow,
    delay: number,
    carryOut: () => T,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { world } = this.#process
    return new Promise((resolve, reject) => {
      const event = world.queue.after(delay, () => {
        if (!this.#process.alive && !this.#isFinished()) return
        const result = carryOut()
        // Whoever was to go on from here is dead.
        if (!this.#process.alive && what === 'remove') flow.causes.add('the process died while it removed the rule')
        this.#process.enter(() => resolve(result))
      })
      // Too late for some.
      const stoppable = world.random.chance(0.5)
      signal?.addEventListener('abort', () => {
        if (!stoppable || event.run === undefined) return
        event.run = undefined
        this.#process.enter(() => reject(new SimulatedFailure('aborted')))
      })
    })
  }
}
