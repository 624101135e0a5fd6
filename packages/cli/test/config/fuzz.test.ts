/** Configuration files with anything in them. */
import { setDefaultTimeout, test } from 'bun:test'
import { FuzzFailure, fuzzInput, fuzzInTest } from '../../../core/test/support/fuzz/index.ts'
import { ConfigError, loadConfig } from '../../src/config/index.ts'
import { cliTargets } from './fuzz/targets.ts'
import { ConfigFolder } from './support.ts'

setDefaultTimeout(60_000)

test.each(cliTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  fuzzInTest(target)
})

test.each(cliTargets.map((target) => [target.name, target] as const))('%s, read from files', async (_name, target) => {
  using folder = new ConfigFolder()
  for (let index = 0; index < 200; index++) {
    const input = fuzzInput(target, 2, index)
    const path = folder.write(`${index}.${input[0] === 0x7b ? 'json' : 'toml'}`, input)
    const refused = await loadConfig('gateway', path).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (refused !== undefined && !(refused instanceof ConfigError)) {
      throw new FuzzFailure(target.name, input, `seed 2, input ${index}, from a file`, { cause: refused })
    }
  }
})
