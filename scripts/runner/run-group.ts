import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addTallies, emptyTally, failed, type Tally, tallyReport } from './junit.ts'
import { runChild } from './run-child.ts'
import type { TestGroup, Tier } from './test-files.ts'

/** Milliseconds for one test that sets no limit of its own; shared machines are slow at times, and the guest is at all times. */
const testTimeouts: Readonly<Record<Tier, number>> = { pure: 30_000, netns: 30_000, guest: 240_000 }

/** Milliseconds for all files of a group together. */
const groupTimeout = 15 * 60_000

/** What runs a command inside a guest that may write to `directory`. It ends before this process gives up waiting for it. */
const insideGuest = (directory: string): string[] => [
  ...[process.execPath, 'testbed/src/guest/main.ts', '--share', directory],
  ...['--timeout', `${(groupTimeout - 60_000) / 1000}`, '--'],
]

/** Runs the files of a group in one `bun test` process, which prints to this process's streams unless it is to be quiet. */
export async function runGroup(
  root: string,
  group: TestGroup,
  { namePattern, quiet = false }: { readonly namePattern?: string | undefined; readonly quiet?: boolean } = {},
): Promise<Tally> {
  const directory = await mkdtemp(join(tmpdir(), 'xoffload-test-'))
  try {
    const report = join(directory, 'junit.xml')
    const filter = namePattern === undefined ? [] : ['--test-name-pattern', namePattern]
    const command = [
      ...(group.insideGuest ? insideGuest(directory) : []),
      ...[process.execPath, 'test', '--timeout', `${testTimeouts[group.tier]}`],
      ...['--reporter=junit', '--reporter-outfile', report, ...filter],
      ...group.files.map((file) => `./${file}`),
    ]
    const end = await runChild(command, { cwd: root, timeout: groupTimeout, quiet })
    const file = Bun.file(report)
    const tally = (await file.exists()) ? tallyReport(await file.text()) : emptyTally
    // A name pattern makes Bun report what it filtered out as skipped.
    const counted = namePattern === undefined ? tally : { ...tally, skipped: 0 }
    const nothingMatches = namePattern !== undefined && tally.passed + tally.failed === 0
    if (end === 'exit code 0' || tally.failed > 0 || nothingMatches) return counted
    // A crash, a failed import or an error between tests: no test case tells of it.
    return addTallies(counted, failed(`${group.directory} (${group.tier}): bun test ended with ${end}`))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
