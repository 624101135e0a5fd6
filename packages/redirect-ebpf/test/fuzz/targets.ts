import type { FuzzTarget } from '../../../core/test/support/fuzz/index.ts'
import { heldFrames } from './held-frames.ts'
import { ruleEntries } from './rule-layout.ts'

/** The decoders of this package. */
export const redirectTargets: readonly FuzzTarget[] = [heldFrames, ruleEntries]
