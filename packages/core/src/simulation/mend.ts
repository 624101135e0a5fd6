import { SimulatedFailure, type SimulatedProcess } from './process.ts'

/** How long the redirector may take, in milliseconds: longer than when it is slow. */
const ANSWER_TIMEOUT = 100
/** Until the next attempt, in milliseconds. */
const RETRY = 10

/** An operation of the redirector that has to succeed: it is tried again, also when it is not answered. */
export function mend(process: SimulatedProcess, operate: () => Promise<unknown>, then: () => void = () => {}): void {
  const { clock } = process
  let over = false
  const once = (next: () => void) => (): void => {
    if (over || !process.alive) return
    over = true
    cancel()
    next()
  }
  const again = once(() => void clock.after(RETRY, () => mend(process, operate, then)))
  const cancel = clock.after(ANSWER_TIMEOUT, again)
  try {
    operate().then(
      once(() => process.enter(then)),
      again,
    )
  } catch (error) {
    if (!(error instanceof SimulatedFailure)) throw error
    again()
  }
}
