import type { Clock } from '../../ports.ts'

interface Command {
  /** When it came, in microseconds. */
  readonly since: number
  readonly duration: () => number
  readonly run: () => Promise<void>
  readonly reject: (error: unknown) => void
  readonly signal: AbortSignal | undefined
}

/**
 * What stands behind a lock: commands are carried out one at a time, in the order in which they came, each after its duration. A command
 * that is already being carried out cannot be aborted.
 *
 * The durations add up exactly, also on a clock whose timers are late: what should have been done meanwhile is then done at once.
 */
export class CommandLine {
  readonly #clock: Clock
  readonly #commands: Command[] = []
  /** Until when the one before has the lock, in microseconds. */
  #free = 0
  #working = false
  #stopped = false
  #resume: (() => void) | undefined
  /** The most commands that have ever waited and run at a time. */
  longest = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Lines up, waits for its duration (microseconds), and then runs. Rejects when it is aborted before its turn has come. */
  add<T>(duration: () => number, run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const since = this.#clock.now()
      this.#commands.push({ since, duration, run: () => run().then(resolve, reject), reject, signal })
      this.longest = Math.max(this.longest, this.#commands.length)
      if (!this.#working) void this.#work()
    })
  }

  /** Nothing is carried out until {@link resume}. */
  stall(): void {
    this.#stopped = true
  }

  resume(): void {
    this.#stopped = false
    this.#resume?.()
    this.#resume = undefined
  }

  /** Rejects everything that waits for its turn. */
  clear(error: unknown): void {
    const first = this.#working ? 1 : 0
    for (const { reject } of this.#commands.splice(first)) reject(error)
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let command = this.#commands[0]; command !== undefined; command = this.#commands[0]) {
      if (command.signal?.aborted) command.reject(command.signal.reason)
      else {
        await this.#wait(command)
        await command.run()
      }
      this.#commands.shift()
    }
    this.#working = false
  }

  async #wait({ since, duration }: Command): Promise<void> {
    this.#free = Math.max(this.#free, since) + duration()
    const left = this.#free - this.#clock.now()
    if (left > 0) await new Promise<void>((resolve) => this.#clock.after(left / 1000, resolve))
    while (this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#resume = resolve
      })
      this.#free = this.#clock.now()
    }
  }
}
