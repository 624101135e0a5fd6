import { systemClock } from '../runtime/clock.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'

/** Answers a second to one gateway, and how many may come at once. A gateway asks when it has connected, and every minute. */
const PER_SECOND = 1
const BURST = 4

/** A gateway's questions for its connections here. */
interface Asker {
  readonly bucket: TokenBucket
  /** The last question, while its answer waits. */
  waiting: number | undefined
}

/**
 * Answers questions for connections, which take time in proportion to their number, no more often than once a second to each gateway. A
 * question that comes sooner waits, and the next takes its place: a gateway uses no answer but that to its last question.
 */
export class Audits {
  readonly #answer: (gateway: string, nonce: number) => void
  readonly #askers = new Map<string, Asker>()
  readonly #timers = new Set<() => void>()

  /** `answer` must not throw. Gateways are known by names of the configuration, so that they are few. */
  constructor(answer: (gateway: string, nonce: number) => void) {
    this.#answer = answer
  }

  /** A gateway asks. */
  asked(gateway: string, nonce: number): void {
    const asker = this.#askers.get(gateway) ?? { bucket: new TokenBucket(PER_SECOND, BURST - 1), waiting: undefined }
    this.#askers.set(gateway, asker)
    const late = asker.waiting !== undefined
    asker.waiting = nonce
    if (late) return
    const wait = asker.bucket.wait()
    asker.bucket.spend(1)
    if (wait === 0) this.#answerNow(gateway, asker)
    else this.#later(wait, () => this.#answerNow(gateway, asker))
  }

  /** Answers nothing more. */
  close(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }

  #answerNow(gateway: string, asker: Asker): void {
    const { waiting } = asker
    asker.waiting = undefined
    if (waiting !== undefined) this.#answer(gateway, waiting)
  }

  #later(milliseconds: number, callback: () => void): void {
    const cancel = systemClock.after(milliseconds, () => {
      this.#timers.delete(cancel)
      callback()
    })
    this.#timers.add(cancel)
  }
}
