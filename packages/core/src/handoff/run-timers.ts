import type { TimerWheel, WheelTimer } from './timer-wheel.ts'

/** The named timers of one handoff: at most one of each name runs. */
export class RunTimers<Name extends string> {
  readonly #wheel: TimerWheel
  readonly #onTimeout: (name: Name) => void
  readonly #running = new Map<Name, WheelTimer>()

  constructor(wheel: TimerWheel, onTimeout: (name: Name) => void) {
    this.#wheel = wheel
    this.#onTimeout = onTimeout
  }

  /** Starts the timer, again if it runs. */
  start(name: Name, milliseconds: number): void {
    this.cancel(name)
    const timer = this.#wheel.start(milliseconds, () => {
      this.#running.delete(name)
      this.#onTimeout(name)
    })
    this.#running.set(name, timer)
  }

  /** Does nothing when the timer does not run. */
  cancel(name: Name): void {
    const running = this.#running.get(name)
    if (!running) return
    this.#wheel.cancel(running)
    this.#running.delete(name)
  }
}
