import { Glob } from 'bun'

/** `pure` tests need no privilege; `netns` tests need root and make network namespaces. */
export type Tier = 'pure' | 'netns'

export const tiers: readonly Tier[] = ['pure', 'netns']

/** The test files of one package and tier. They run in one process, so that a crash spoils no other package's results. */
export interface TestGroup {
  readonly tier: Tier
  /** `packages/core`, `testbed`, ... */
  readonly directory: string
  /** Paths relative to the root, sorted. */
  readonly files: readonly string[]
}

/** Only these have tests that run on every operating system; the others call Linux. */
const portable = ['packages/core', 'scripts']

/** A test is of the tier `netns` when it is in a folder of that name. */
export function tierOf(file: string): Tier {
  return file.includes('/netns/') ? 'netns' : 'pure'
}

/** Groups in the order in which they run: all that is pure, core first, then the namespaces. */
export function groupTestFiles(files: readonly string[]): TestGroup[] {
  const groups = Map.groupBy([...files].sort(), (file) => {
    const directory = /^packages\/[^/]+/.exec(file)?.[0] ?? file.replace(/\/.*$/, '')
    return `${tierOf(file)} ${directory}`
  })
  return [...groups]
    .map(([key, members]) => {
      const [tier, directory] = key.split(' ') as [Tier, string]
      return { tier, directory, files: members }
    })
    .sort((a, b) => tiers.indexOf(a.tier) - tiers.indexOf(b.tier) || a.directory.localeCompare(b.directory))
}

/** All test files below `root`. */
export function findTestFiles(root: string): string[] {
  const glob = new Glob('{packages,testbed,bench,scripts}/**/*.test.ts')
  return [...glob.scanSync({ cwd: root })].filter((file) => !file.includes('node_modules/') && !file.includes('/dist/'))
}

/** Whether the tests of a group can run on this operating system at all. */
export function runsHere(group: TestGroup, platform: NodeJS.Platform = process.platform): boolean {
  return platform === 'linux' || portable.includes(group.directory)
}
