import { parseArgs } from 'node:util'
import { type Tier, tiers } from './test-files.ts'
import { checksRun, testOptions } from './test-options.mjs'

/** What `npm test -- ...` was asked to do. */
export interface TestOptions {
  readonly tiers: readonly Tier[]
  /** Only files whose path contains one of these; empty for all. */
  readonly patterns: readonly string[]
  /** Only tests whose name matches this regular expression. */
  readonly namePattern: string | undefined
  /** Whether the checks of the repository run too (types, style, packages, ...). On by default when CI=true. */
  readonly checks: boolean
}

/** Arguments that make no sense; the message is one sentence for the user. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const usage = `npm test -- [--tier pure|netns|guest] [-t NAME] [--checks | --no-checks] [PATTERN ...]

  --tier TIER    pure: tests without privilege; netns: tests that need root and network namespaces;
                 guest: tests that need root, and a kernel in QEMU with what this one may lack; all by default
  -t NAME        only tests whose name matches this regular expression
  --checks       also check types, style, packages and BPF objects, and that nothing is left behind; default in CI
  PATTERN        only test files whose path contains it`

/** Throws {@link UsageError}. */
export function parseTestArguments(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): TestOptions {
  const { values, positionals } = parse(args)
  return {
    tiers: values.tier === undefined ? tiers : [tierNamed(values.tier)],
    patterns: positionals,
    namePattern: values['test-name-pattern'],
    checks: checksRun(args, env),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      allowNegative: true,
      options: testOptions,
    })
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : error}\n${usage}`)
  }
}

function tierNamed(name: string): Tier {
  const tier = tiers.find((candidate) => candidate === name)
  if (tier === undefined) throw new UsageError(`--tier must be ${tiers.join(' or ')}, not "${name}".`)
  return tier
}
