import { Glob } from 'bun'

/**
 * `pure` tests need no privilege; `netns` tests need root and make network namespaces; `guest` tests need a kernel that has what
 * the host's may lack, and run in QEMU or start it.
 */
export type Tier = 'pure' | 'netns' | 'guest'

export const tiers: readonly Tier[] = ['pure', 'netns', 'guest']

/** The test files of one package and tier. They run in one process, so that a crash spoils no other package's results. */
export interface TestGroup {
  readonly tier: Tier
  /** Whether `bun test` runs inside the guest. */
  readonly insideGuest: boolean
  /** `packages/core`, `testbed`, ... */
  readonly directory: string
  /** Paths relative to the root, sorted. */
  readonly files: readonly string[]
}

/** Only these have tests that run on every operating system; the others call Linux. */
const portable = ['packages/core', 'scripts']

/** A test is of the tier `netns` or `guest` when it is in a folder of that name. */
export function tierOf(file: string): Tier {
  return tiers.find((tier) => file.includes(`/test/${tier}/`)) ?? 'pure'
}

/** A test in `test/guest/inside/` runs inside the guest; another one in `test/guest/` runs on the host and starts guests. */
function isInsideGuest(file: string): boolean {
  return file.includes('/test/guest/inside/')
}

/** Groups in the order in which they run: all that is pure, core first, then the namespaces, then the guest. */
export function groupTestFiles(files: readonly string[]): TestGroup[] {
  const groups = Map.groupBy([...files].sort(), (file) => {
    const directory = /^packages\/[^/]+/.exec(file)?.[0] ?? file.replace(/\/.*$/, '')
    return `${tierOf(file)} ${directory}${isInsideGuest(file) ? ' inside' : ''}`
  })
  return [...groups]
    .map(([key, members]) => {
      const [tier, directory, inside] = key.split(' ') as [Tier, string, 'inside'?]
      return { tier, directory, insideGuest: inside !== undefined, files: members }
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
