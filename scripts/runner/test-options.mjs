import { parseArgs } from 'node:util'

/** The options of `npm test`, as `parseArgs` of node:util takes them. */
export const testOptions = /** @type {const} */ ({
  tier: { type: 'string' },
  'test-name-pattern': { type: 'string', short: 't' },
  checks: { type: 'boolean' },
})

/**
 * Whether `npm test -- ARGS` runs the checks too: when it is told to, and in CI unless it runs a part of the tests only.
 * Set-up asks as well, on a Node whose `parseArgs` knows no `--no-` form yet, and with arguments that may be wrong.
 *
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string | undefined>>} env
 */
export const checksRun = (args, env) => {
  const { values, positionals } = parseArgs({ args: [...args], options: testOptions, strict: false })
  if (values.checks === true) return true
  return values['no-checks'] !== true && env.CI === 'true' && positionals.length === 0
}
