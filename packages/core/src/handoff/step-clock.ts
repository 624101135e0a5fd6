import type { Clock } from '../ports.ts'
import type { FromTargetMessage } from '../protocol/messages.ts'
import type { CoordinatorPhase } from './coordinator-state.ts'
import type { StepTimes } from './outcome.ts'

const STEP_OF: Partial<Record<CoordinatorPhase, keyof StepTimes>> = {
  locking: 'lock',
  taking: 'take',
  freezing: 'freeze',
  snapshotting: 'snapshot',
  silencing: 'silence',
  offering: 'offer',
  steering: 'steer',
  committing: 'commit',
}

/** Measures how long the steps of one handoff take. */
export class StepClock {
  readonly #clock: Clock
  readonly #started: number
  readonly #times: StepTimes = { total: 0 }
  #stepStarted: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#started = clock.now()
    this.#stepStarted = this.#started
  }

  /** The phase is over. */
  ended(phase: CoordinatorPhase): void {
    const now = this.#clock.now()
    const step = STEP_OF[phase]
    if (step) this.#times[step] = now - this.#stepStarted
    this.#stepStarted = now
  }

  /** What the target has measured itself. */
  answered(message: FromTargetMessage): void {
    if (message.type === 'accept') this.#times.restore = message.restoreMicroseconds
    if (message.type === 'committed') this.#times.adopt = message.adoptMicroseconds
  }

  /** The outcome is known. */
  finish(): StepTimes {
    this.#times.total = this.#clock.now() - this.#started
    return this.#times
  }
}
