import type { FuzzTarget } from '../../../core/test/support/fuzz/index.ts'
import { requestBodies } from './bodies.ts'
import { requestHeads } from './heads.ts'
import { interruptedResponses } from './interrupted-responses.ts'

/** The decoders of this package. */
export const adapterTargets: readonly FuzzTarget[] = [requestHeads, requestBodies, interruptedResponses]
