/** The decoders of what the kernel says, fed with what no kernel says. */
import { setDefaultTimeout, test } from 'bun:test'
import { fuzzInTest } from '../../core/test/support/fuzz/index.ts'
import { linuxTargets } from './fuzz/targets.ts'

setDefaultTimeout(60_000)

test.each(linuxTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  fuzzInTest(target)
})
