/** The decoders of what the BPF programs hand over, fed with anything. */
import { setDefaultTimeout, test } from 'bun:test'
import { fuzzInTest } from '../../core/test/support/fuzz/index.ts'
import { redirectTargets } from './fuzz/targets.ts'

setDefaultTimeout(60_000)

test.each(redirectTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  fuzzInTest(target)
})
