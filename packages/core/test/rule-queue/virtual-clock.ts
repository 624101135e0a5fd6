import type { Clock } from '../../src/index.ts'
import { EventQueue } from '../../src/simulation/event-queue.ts'

/** Virtual time that passes from event to event, as fast as they can be run. */
export class VirtualClock implements Clock {
  readonly queue = new EventQueue()

  now(): number {
    return this.queue.now
  }

  after(milliseconds: number, callback: () => void): () => void {
    const event = this.queue.after(milliseconds * 1000, callback)
    return () => {
      event.run = undefined
    }
  }

  /** Resolves when this much virtual time has passed. Somebody must {@link run} the clock. */
  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.after(milliseconds, resolve))
  }

  /** Lets time pass until nothing is to happen any more or `done` says so. Whatever an event makes happen is over before the next one. */
  async run(done: () => boolean = () => false): Promise<void> {
    await settled()
    while (!done() && this.queue.step()) await settled()
  }

  /** Lets `milliseconds` pass. */
  async advance(milliseconds: number): Promise<void> {
    let over = false
    this.after(milliseconds, () => {
      over = true
    })
    await this.run(() => over)
  }

  /** Runs the clock until the promise settles. Fails when nothing is left that could settle it. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settledAt: number | undefined
    const done = (): void => {
      settledAt = this.now()
    }
    promise.then(done, done)
    await this.run(() => settledAt !== undefined)
    if (settledAt === undefined) throw new Error('time has come to its end, and the promise has not been settled')
    return promise
  }
}

/** Every promise that can be settled without an event of the clock is. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
