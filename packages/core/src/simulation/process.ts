import type { Clock } from '../ports.ts'
import type { Kernel } from './kernel.ts'
import type { CrashPlan } from './plan.ts'
import type { World } from './world.ts'

/** Thrown by ports on purpose. Any other error that a driver reports is one that nobody has planned. */
export class SimulatedFailure extends Error {}

/**
 * A process of the gateway or of a server. It may be killed at any of its steps: before or after each call of a port. What it has
 * begun then ends in the middle, and its timers and promises are gone.
 */
export class SimulatedProcess {
  alive = true
  /** Timers that run. */
  timers = 0
  readonly world: World
  readonly kernel: Kernel
  readonly clock: Clock
  /** Its number among the processes of its host. */
  readonly number: number
  /** Called when it dies; `downtime` is in milliseconds. */
  onDeath: (what: CrashPlan['what'], downtime: number) => void = () => {}
  #steps = 0
  #crash: CrashPlan | undefined

  constructor(world: World, kernel: Kernel, crash: CrashPlan | undefined) {
    this.world = world
    this.kernel = kernel
    this.#crash = crash
    kernel.attended = true
    kernel.processes += 1
    this.number = kernel.processes
    this.clock = {
      now: () => world.queue.now,
      after: (milliseconds, callback) => this.#after(milliseconds, callback),
    }
    if (crash?.step === 0 && !crash.thawed) world.queue.after(crash.time, () => this.alive && this.die(crash))
  }

  /** One step: a call of a port. Throws when the process is, or is now, dead. */
  step<T>(name: string, call: () => T): T {
    this.world.stirred = true
    this.#advance(name)
    const result = call()
    this.#advance(name, true)
    return result
  }

  /** What happens to this process from outside. Nothing does when it is dead. */
  enter(call: () => void): void {
    if (!this.alive) return
    this.world.stirred = true
    call()
  }

  die({ what, downtime }: CrashPlan): void {
    this.alive = false
    this.world.note(() => `${this.kernel.name}: the ${what} dies`)
    if (what === 'host') this.kernel.killHost()
    else this.kernel.killProcess()
    this.onDeath(what, downtime)
  }

  #advance(name: string, done = false): void {
    if (!this.alive) throw new SimulatedFailure('the process is dead')
    this.#steps += 1
    if (this.#crash === undefined || !this.#isLast(this.#crash, name, done) || this.world.calm) return
    this.world.note(() => `${this.kernel.name}: step ${this.#steps} (${name}) is its last`)
    this.die(this.#crash)
    throw new SimulatedFailure('the process is dead')
  }

  #isLast({ step, thawed }: CrashPlan, name: string, done: boolean): boolean {
    return thawed ? done && name === 'thaw' : step === this.#steps
  }

  #after(milliseconds: number, callback: () => void): () => void {
    this.timers += 1
    let running = true
    const event = this.world.queue.after(milliseconds * 1000, () => {
      running = false
      this.timers -= 1
      this.enter(callback)
    })
    return () => {
      if (!running) return
      running = false
      this.timers -= 1
      event.run = undefined
    }
  }
}

/** A rejection that nobody may be there to hear of: the process can die at this step. */
export function rejected(error: Error): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}
