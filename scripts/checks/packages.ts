import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildPackage, packPackage, publicPackages } from '../runner/packages.ts'
import type { Check } from './check.ts'
import { failureOf } from './command.ts'

/** Every public package builds, and its tarball is one that publint and arethetypeswrong have nothing to say about. */
export function packageChecks(root: string): Check[] {
  return [
    { name: 'packages: build (tsc)', run: () => build(root) },
    { name: 'packages: publint', run: () => eachTarball(root, (tarball) => publint(root, tarball)) },
    { name: 'packages: arethetypeswrong', run: () => eachTarball(root, (tarball) => attw(root, tarball)) },
  ]
}

async function build(root: string): Promise<string | undefined> {
  for (const each of await publicPackages(root)) {
    const failure = await buildPackage(root, each)
    if (failure !== undefined) return `${each.name}:\n${failure}`
  }
  return undefined
}

async function eachTarball(
  root: string,
  judge: (tarball: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'xoffload-pack-'))
  try {
    const failures: string[] = []
    for (const each of await publicPackages(root)) {
      const failure = await judge(await packPackage(each, directory))
      if (failure !== undefined) failures.push(`${each.name}:\n${failure}`)
    }
    return failures.length === 0 ? undefined : failures.join('\n')
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function publint(root: string, tarball: string): Promise<string | undefined> {
  const command = [process.execPath, join(root, 'node_modules/.bin/publint'), 'run', tarball, '--strict']
  return failureOf(command, { cwd: root })
}

function attw(root: string, tarball: string): Promise<string | undefined> {
  const command = [
    process.execPath,
    join(root, 'node_modules/.bin/attw'),
    tarball,
    '--profile',
    'esm-only',
    '--no-emoji',
  ]
  return failureOf(command, { cwd: root })
}
