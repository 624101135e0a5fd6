import { join } from 'node:path'
import type { Check } from './check.ts'
import { capture, failureOf } from './command.ts'

/** What can be said of the source without running it. */
export function staticChecks(root: string): Check[] {
  const tool = (name: string) => join(root, 'node_modules/.bin', name)
  return [
    {
      name: 'types (tsc)',
      run: () => failureOf([process.execPath, tool('tsc'), '-p', '.'], { cwd: root }),
    },
    {
      name: 'format, lint and layers (biome)',
      run: () =>
        failureOf(
          [process.execPath, tool('biome'), 'ci', '--error-on-warnings', '--colors=off', '--max-diagnostics=30', '.'],
          { cwd: root },
        ),
    },
    {
      name: 'one version of @sinclair/typebox',
      run: () => oneVersion(root, '@sinclair/typebox'),
    },
  ]
}

/** The objects in the repository are those that clang makes of the sources. */
export function bpfObjects(root: string): Check {
  return {
    name: 'BPF objects are up to date',
    run: () => failureOf(['bash', 'packages/redirect-ebpf/scripts/build-bpf.sh', '--check'], { cwd: root }),
  }
}

/** The object that is committed is what its sources compile to. */
export function preloadLibrary(root: string): Check {
  return {
    name: 'the preload library is up to date',
    run: () => failureOf(['bash', 'packages/proxy-adapters/preload/build.sh', '--check'], { cwd: root }),
  }
}

/** Two versions of a schema library do not recognise each other's schemas. */
async function oneVersion(root: string, name: string): Promise<string | undefined> {
  // Bun prints its binary lock file in the format of yarn.
  const { exitCode, stdout, output } = await capture([process.execPath, './bun.lockb'], { cwd: root })
  if (exitCode !== 0) return output
  const versions = versionsInLockfile(stdout, name)
  return versions.length === 1 ? undefined : `bun.lockb holds ${versions.length} versions: ${versions.join(', ')}`
}

/** All versions of a package in a lock file in the format of yarn 1. */
export function versionsInLockfile(lockfile: string, name: string): string[] {
  const versions = new Set<string>()
  let isWanted = false
  for (const line of lockfile.split('\n')) {
    if (/^\S/.test(line)) isWanted = line.replaceAll('"', '').startsWith(`${name}@`)
    const version = /^ {2}version "(.+)"$/.exec(line)?.[1]
    if (isWanted && version !== undefined) versions.add(version)
  }
  return [...versions]
}
