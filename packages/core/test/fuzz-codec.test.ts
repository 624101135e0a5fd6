/** The decoders of what comes over the network, fed with what no peer sends. */
import { setDefaultTimeout, test } from 'bun:test'
import { coreTargets } from './fuzz/targets.ts'
import { fuzzInTest } from './support/fuzz/index.ts'

setDefaultTimeout(60_000)

test.each(coreTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  fuzzInTest(target)
})
