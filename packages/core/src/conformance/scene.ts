import type { FlowKey } from '../flow.ts'
import type { Redirector, RedirectorManifest, Rule, SteerTarget } from '../redirector.ts'
import type { DeviceUnderTest, NetworkUnderTest, RedirectorRequest } from './device.ts'
import { check } from './failure.ts'
import { flowOf, steer, targetOf } from './rules.ts'
import { within } from './time.ts'

export interface Limits {
  /** Milliseconds within which whatever is bound to happen has happened: an operation, a frame, a counter. */
  readonly step: number
  /** Milliseconds that a whole test may take. */
  readonly test: number
  /** How many rules a test may put. One that is meant for more says so in its result. */
  readonly rules: number
}

/** One test's device and redirectors. */
export class Scene {
  readonly device: DeviceUnderTest
  readonly limits: Limits
  readonly #opened: Redirector[] = []
  #redirector: Redirector | undefined
  #reduction: string | undefined

  constructor(device: DeviceUnderTest, limits: Limits) {
    this.device = device
    this.limits = limits
  }

  /** The first redirector that was opened. */
  get redirector(): Redirector {
    check(this.#redirector !== undefined, 'no redirector was opened')
    return this.#redirector
  }

  get manifest(): RedirectorManifest {
    return this.redirector.manifest
  }

  get network(): NetworkUnderTest {
    check(this.device.network !== undefined, 'the factory gives no network')
    return this.device.network
  }

  /** A redirector of the device that is closed after the test, opened or not. */
  async make(request?: RedirectorRequest): Promise<Redirector> {
    const redirector = await this.device.redirector(request)
    this.#opened.push(redirector)
    return redirector
  }

  /** Makes a redirector of the device and opens it. */
  async open(request?: RedirectorRequest): Promise<Redirector> {
    const redirector = await this.make(request)
    await redirector.open()
    this.#redirector ??= redirector
    return redirector
  }

  /** A family that the redirector has; IPv4 when it has both. */
  get family(): 4 | 6 {
    return this.manifest.families.includes(4) ? 4 : 6
  }

  /** A flow of a family that the redirector has. */
  flow(number: number): FlowKey {
    return flowOf(this.family, number)
  }

  /** A target of the first mode that the redirector has. */
  get target(): SteerTarget {
    const mode = this.manifest.steerModes[0]
    check(mode !== undefined, 'the manifest has no steer mode')
    return targetOf(mode, this.device.network, this.family)
  }

  steer(number: number): Rule {
    return steer(this.flow(number), this.target)
  }

  /** Rules of all kinds that the redirector has, for the flows with these numbers. */
  rule(number: number): Rule {
    if (this.manifest.holds && number % 3 === 0) return { action: 'hold', flow: this.flow(number) }
    return this.steer(number)
  }

  rules(count: number, first = 0): Rule[] {
    return Array.from({ length: count }, (_, index) => this.rule(first + index))
  }

  /** As many rules as a test is meant for, or as the redirector has room for, or as the limits allow. */
  ruleCount(meant: number): number {
    const possible = Math.min(meant, this.manifest.capacity)
    const { rules } = this.limits
    if (rules >= possible) return possible
    this.#reduction = `with ${rules} rules instead of ${possible}`
    return rules
  }

  /** What the limits have made of the test; undefined when it was done as it is meant. */
  get reduction(): string | undefined {
    return this.#reduction
  }

  /** Closes every redirector and frees the device, also when one of them fails. */
  async end(): Promise<void> {
    const failures: unknown[] = []
    const attempt = async (what: string, action: () => unknown) => {
      try {
        await within(what, this.limits.step, Promise.resolve(action()))
      } catch (error) {
        failures.push(error)
      }
    }
    for (const redirector of this.#opened.reverse()) await attempt('close()', () => redirector.close())
    await attempt('dispose() of the device', () => this.device.dispose?.())
    if (failures.length > 0) throw failures[0]
  }
}
