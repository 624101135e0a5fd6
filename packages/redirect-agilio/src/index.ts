import { FlowerRedirector, type FlowerRedirectorOptions } from '@xoffload/redirect-flower'
import { agilio, EXPECTED_PROFILE } from './hardware.ts'

export type { FlowerRedirectorOptions } from '@xoffload/redirect-flower'
export { agilio } from './hardware.ts'

/**
 * Steers flows in a Netronome Agilio SmartNIC (nfp): see {@link agilio}, and `FlowerRedirector` for what steering in a NIC can do.
 * A rule is accepted before the firmware has it; only counters that move prove that it is active.
 */
export class AgilioRedirector extends FlowerRedirector {
  /** Throws `RedirectorError` `invalid` for options that cannot be right. */
  constructor(options: FlowerRedirectorOptions) {
    super(options, agilio, EXPECTED_PROFILE)
  }
}
