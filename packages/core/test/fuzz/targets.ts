import type { FuzzTarget } from '../support/fuzz/index.ts'
import { flowKeys, flowTexts, macTexts } from './addresses.ts'
import { frames } from './frames.ts'
import { messages } from './messages.ts'
import { snapshots } from './snapshots.ts'

/** The decoders of this package. */
export const coreTargets: readonly FuzzTarget[] = [snapshots, messages, frames, flowKeys, flowTexts, macTexts]
