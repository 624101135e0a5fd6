import { type Endpoint, formatEndpoint } from '@xoffload/core'
import type { ControlError } from './errors.ts'

/** How long the same refusal of the same address is not reported again, milliseconds. */
const silence = 60_000
/** Refusals that are remembered; an attacker with many addresses cannot make this grow. */
const maximumRemembered = 256

/** Reports a refused connection once a minute per address and reason, so that a peer that tries for ever does not fill the log. */
export class RefusalReporter {
  readonly #report: (remote: string, reason: ControlError) => void
  readonly #reported = new Map<string, number>()
  #count = 0

  constructor(report: (remote: string, reason: ControlError) => void) {
    this.#report = report
  }

  /** All refusals, also those that were not reported. */
  get count(): number {
    return this.#count
  }

  refused(remote: Endpoint, reason: ControlError): void {
    this.#count++
    const now = performance.now()
    const key = `${remote.address} ${reason.message}`
    const last = this.#reported.get(key)
    if (last !== undefined && now - last < silence) return
    if (this.#reported.size >= maximumRemembered) this.#reported.clear()
    this.#reported.set(key, now)
    this.#report(formatEndpoint(remote), reason)
  }
}
