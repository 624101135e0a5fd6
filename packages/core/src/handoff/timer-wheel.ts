import type { Clock } from '../ports.ts'

/** A time limit that runs. */
export interface WheelTimer {
  readonly due: number
  readonly callback: () => void
}

/** A turn that comes so many ticks late says that the process was stopped, or had no processor. */
const LATE_TICKS = 10

/**
 * Thousands of time limits, nearly all of which are cancelled, on one timer of the clock, which runs only while there is a limit.
 * A limit fires when its time has passed and at most one tick (and the clock's own delay) later. After a pause of the whole process it
 * fires a tick later: what has come meanwhile, and makes it void, is read first.
 */
export class TimerWheel {
  readonly #clock: Clock
  readonly #tickMilliseconds: number
  /** Made when they are first used. */
  readonly #slots: (Set<WheelTimer> | undefined)[]
  #size = 0
  /** The last tick that was looked at. */
  #tick = 0
  #stop: (() => void) | undefined
  #late = false

  constructor(clock: Clock, tickMilliseconds = 10, slots = 512) {
    this.#clock = clock
    this.#tickMilliseconds = tickMilliseconds
    this.#slots = new Array(slots)
  }

  /** The number of limits that run. */
  get size(): number {
    return this.#size
  }

  start(milliseconds: number, callback: () => void): WheelTimer {
    const now = this.#clock.now() / 1000
    // While it stands still the wheel is behind; while it turns, a due tick is never one that has been looked at.
    if (this.#size === 0) this.#tick = Math.floor(now / this.#tickMilliseconds)
    const due = Math.max(Math.ceil((now + milliseconds) / this.#tickMilliseconds), this.#tick + 1)
    const timer = { due, callback }
    this.#slot(due).add(timer)
    this.#size += 1
    this.#stop ??= this.#clock.after(this.#tickMilliseconds, () => this.#turn())
    return timer
  }

  /** Does nothing when the limit has fired or was cancelled before. */
  cancel(timer: WheelTimer): void {
    if (!this.#slot(timer.due).delete(timer)) return
    this.#size -= 1
    if (this.#size > 0) return
    this.#stop?.()
    this.#stop = undefined
  }

  #turn(): void {
    this.#stop = undefined
    const now = Math.floor(this.#clock.now() / 1000 / this.#tickMilliseconds)
    this.#late = !this.#late && now - this.#tick > LATE_TICKS
    if (this.#late) {
      this.#stop = this.#clock.after(this.#tickMilliseconds, () => this.#turn())
      return
    }
    const first = Math.max(this.#tick + 1, now - this.#slots.length + 1)
    this.#tick = Math.max(this.#tick, now)
    for (let tick = first; tick <= now; tick++) {
      const slot = this.#slots[tick % this.#slots.length]
      if (slot === undefined) continue
      for (const timer of slot) {
        if (timer.due > now || !slot.delete(timer)) continue
        this.#size -= 1
        timer.callback()
      }
    }
    if (this.#size > 0) this.#stop ??= this.#clock.after(this.#tickMilliseconds, () => this.#turn())
  }

  #slot(tick: number): Set<WheelTimer> {
    const index = tick % this.#slots.length
    const slot = this.#slots[index] ?? new Set()
    this.#slots[index] = slot
    return slot
  }
}
