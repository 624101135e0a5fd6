import { FlowerRedirector, type FlowerRedirectorOptions } from '@xoffload/redirect-flower'
import { connectX, EXPECTED_PROFILE } from './hardware.ts'

export type { FlowerRedirectorOptions } from '@xoffload/redirect-flower'
export { CARDS, type ConnectXCard, cardOf } from './cards.ts'
export { connectX } from './hardware.ts'

/**
 * Steers flows in an NVIDIA ConnectX-5, ConnectX-6 or ConnectX-7 (mlx5_core): see {@link connectX} for its modes, and
 * `FlowerRedirector` for what steering in a NIC can do. `open` looks at driver, firmware, switches and modes first, and says what
 * to change.
 */
export class CxFlowerRedirector extends FlowerRedirector {
  /** Throws `RedirectorError` `invalid` for options that cannot be right. */
  constructor(options: FlowerRedirectorOptions) {
    super(options, connectX, EXPECTED_PROFILE)
  }
}
