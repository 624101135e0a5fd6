import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project cannot be made there. The message says what to do. */
export class CreateError extends Error {
  override readonly name = 'CreateError'
}

const TEMPLATE = fileURLToPath(new URL('../template', import.meta.url))
const PACKAGE = fileURLToPath(new URL('../package.json', import.meta.url))

/** Stand in the template for the name of the new package, and for the version of xoffload. */
const NAME = 'redirector-of-my-card'
const VERSION = 'workspace:*'

/**
 * Makes a package for a redirector in a directory that is empty or not there yet; its name is that of the directory. Resolves to the
 * absolute path. Throws {@link CreateError}.
 */
export async function createRedirector(directory: string): Promise<string> {
  const path = resolve(directory)
  const name = basename(path)
  // https://docs.npmjs.com/cli/configuring-npm/package-json#name
  if (!/^[a-z0-9][a-z0-9._-]{0,213}$/.test(name)) {
    throw new CreateError(`"${name}" is no name for a package: lower-case letters, digits, ".", "_" and "-" are`)
  }
  await mkdir(path, { recursive: true })
  if ((await readdir(path)).length > 0) throw new CreateError(`${path} is not empty: name a new directory`)
  await cp(TEMPLATE, path, { recursive: true, filter: (source) => basename(source) !== 'node_modules' })
  // npm leaves files of that name out of packages.
  await rename(join(path, 'gitignore'), join(path, '.gitignore'))
  const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string }
  for (const file of ['package.json', 'README.md']) {
    const text = await readFile(join(path, file), 'utf8')
    await writeFile(join(path, file), text.replaceAll(NAME, name).replaceAll(VERSION, version))
  }
  return path
}
