import type { Clock } from '@xoffload/core'

/**
 * A clock whose timers are precise to some ten microseconds: a thread sleeps for each, where those of the event loop count whole
 * milliseconds. It sleeps one timer after the other, so this is for users that have one at a time.
 */
export class PreciseClock implements Clock, Disposable {
  readonly #thread: Worker
  readonly #pending = new Map<number, () => void>()
  #next = 1
  /** What a timer takes longer than it should, in milliseconds. */
  #overhead = 0

  private constructor(thread: Worker) {
    this.#thread = thread
    thread.onmessage = ({ data }: MessageEvent<number>) => {
      const callback = this.#pending.get(data)
      this.#pending.delete(data)
      callback?.()
    }
  }

  static async start(): Promise<PreciseClock> {
    const source = `
      const word = new Int32Array(new SharedArrayBuffer(4))
      onmessage = ({ data: [id, milliseconds] }) => {
        if (milliseconds > 0) Atomics.wait(word, 0, 0, milliseconds)
        postMessage(id)
      }`
    const clock = new PreciseClock(new Worker(URL.createObjectURL(new Blob([source]))))
    await clock.#calibrate()
    return clock
  }

  now(): number {
    return Bun.nanoseconds() / 1000
  }

  after(milliseconds: number, callback: () => void): () => void {
    const id = this.#next++
    this.#pending.set(id, callback)
    this.#thread.postMessage([id, milliseconds - this.#overhead])
    return () => this.#pending.delete(id)
  }

  [Symbol.dispose](): void {
    this.#thread.terminate()
  }

  async #calibrate(): Promise<void> {
    const late: number[] = []
    for (let round = 0; round < 50; round++) {
      const start = this.now()
      await new Promise<void>((resolve) => this.after(0.5, resolve))
      late.push((this.now() - start) / 1000 - 0.5)
    }
    // The thread was started with the first.
    this.#overhead = Math.max(late.sort((a, b) => a - b)[25] ?? 0, 0)
  }
}
