/** The decoders of what clients send, and of what one server tells another, fed with anything. */
import { setDefaultTimeout, test } from 'bun:test'
import { fuzzInTest } from '../../core/test/support/fuzz/index.ts'
import { adapterTargets } from './fuzz/targets.ts'

setDefaultTimeout(60_000)

test.each(adapterTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  fuzzInTest(target)
})
