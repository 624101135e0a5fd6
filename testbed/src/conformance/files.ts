import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Glob } from 'bun'
import { recordConformance } from './record.ts'

/** Bun's globs have no slash in braces. */
const TESTS = ['packages/*/test/**/*conformance.test.ts', 'testbed/test/**/*conformance.test.ts']

/**
 * The test files that run the suite for a column of the table: paths below `root`, in order. Those that do not give their results to
 * {@link recordConformance} have none: what they examine is no redirector that packets pass.
 */
export function conformanceTests(root: string): string[] {
  const files = TESTS.flatMap((pattern) => [...new Glob(pattern).scanSync({ cwd: root })]).sort()
  return files.filter((file) => readFileSync(join(root, file), 'utf8').includes(recordConformance.name))
}
