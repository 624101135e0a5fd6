import { copyFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { failureOf } from '../checks/command.ts'

/** A package of the workspace that is published. */
export interface PublicPackage {
  readonly name: string
  /** Absolute path. */
  readonly directory: string
  readonly dependencies: Readonly<Record<string, string>>
}

/** All public packages, each after those that it depends on: their declarations are what it is built against. */
export async function publicPackages(root: string): Promise<PublicPackage[]> {
  const directories = (await readdir(join(root, 'packages'))).sort()
  const all = await Promise.all(directories.map((name) => readPackage(join(root, 'packages', name))))
  const remaining = all.filter((candidate) => candidate !== undefined)
  const sorted: PublicPackage[] = []
  while (remaining.length > 0) {
    const next = remaining.findIndex((each) => !remaining.some((other) => other.name in each.dependencies))
    if (next === -1) throw new Error(`packages depend on each other: ${remaining.map(({ name }) => name).join(', ')}`)
    sorted.push(...remaining.splice(next, 1))
  }
  return sorted
}

async function readPackage(directory: string): Promise<PublicPackage | undefined> {
  const file = Bun.file(join(directory, 'package.json'))
  if (!(await file.exists())) return undefined
  const { name, private: isPrivate, dependencies = {} } = await file.json()
  return isPrivate === true ? undefined : { name, directory, dependencies }
}

/** Makes `dist/` with tsc and copies the licence next to it. Resolves to the reason when it cannot. */
export async function buildPackage(root: string, { directory }: PublicPackage): Promise<string | undefined> {
  await rm(join(directory, 'dist'), { recursive: true, force: true })
  await copyFile(join(root, 'LICENSE'), join(directory, 'LICENSE'))
  const tsc = join(root, 'node_modules/.bin/tsc')
  return failureOf([process.execPath, tsc, '-p', 'tsconfig.build.json'], { cwd: directory })
}

/** Packs a built package into `destination`. Resolves to the tarball's path; throws when `bun pm pack` fails. */
export async function packPackage({ name, directory }: PublicPackage, destination: string): Promise<string> {
  const tarball = join(destination, `${name.replace(/^@/, '').replace('/', '-')}.tgz`)
  const failure = await failureOf([process.execPath, 'pm', 'pack', '--filename', tarball], { cwd: directory })
  if (failure !== undefined) throw new Error(failure)
  return tarball
}
