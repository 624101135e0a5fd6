import type { FlowKey } from '../flow.ts'
import type { ErrorListener } from '../ports.ts'
import { UNLOCK_ATTEMPTS } from './coordinator-state.ts'
import type { TimerWheel } from './timer-wheel.ts'

/** How long one attempt may take, and how long until the next one, in milliseconds. */
const ATTEMPT_TIMEOUT = 1000
const RETRY = 100

/** A rule that was put after its handoff had been given up. Nobody waits for it. */
export interface Orphan {
  readonly flow: FlowKey
  /** Whether no newer handoff of the flow has begun: that one puts its own rule, and removes it. */
  readonly isUnclaimed: () => boolean
  /** Removes it, or puts back the one that it has replaced. */
  readonly mend: () => Promise<unknown>
  /** Called when it is mended, or cannot be. */
  readonly done?: () => void
  readonly wheel: TimerWheel
  /** Hears of every failure. */
  readonly onError: ErrorListener
}

/** Mends an orphaned rule, which would hold or steer its flow for good. Tried again a few times. */
export function mendOrphan(orphan: Orphan, attempt = 1): void {
  const { flow, isUnclaimed, mend, done = () => {}, wheel, onError } = orphan
  if (!isUnclaimed()) {
    done()
    return
  }
  const limit = wheel.start(ATTEMPT_TIMEOUT, () => again())
  let answered = false
  const settle = (): boolean => {
    const first = !answered
    answered = true
    if (first) wheel.cancel(limit)
    return first
  }
  const again = (): void => {
    if (!settle()) return
    if (attempt < UNLOCK_ATTEMPTS) wheel.start(RETRY, () => mendOrphan(orphan, attempt + 1))
    else done()
  }
  const onFailure = (error: unknown): void => {
    onError(error, { flow, step: 'unlock' })
    again()
  }
  try {
    mend().then(() => {
      if (settle()) done()
    }, onFailure)
  } catch (error) {
    onFailure(error)
  }
}
