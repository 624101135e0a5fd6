import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { say } from './failure.mjs'

/**
 * The packages that bun.lockb pins, in node_modules. A stamp tells whether they are those of the lock file and the manifests.
 *
 * @param {string} root
 * @param {string} bun The Bun executable.
 */
export const workspacePackages = (root, bun) => {
  const stamp = join(root, 'node_modules/.setup-stamp')

  const manifests = () => {
    const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}`)
    return ['.', 'testbed', 'bench', ...packages.sort()]
      .map((directory) => join(root, directory, 'package.json'))
      .filter(existsSync)
  }

  const fingerprint = () => {
    const hash = createHash('sha256')
    for (const path of [join(root, 'bun.lockb'), ...manifests()]) hash.update(path).update(readFileSync(path))
    return hash.digest('hex')
  }

  return {
    isMissing: () => !existsSync(stamp) || readFileSync(stamp, 'utf8') !== fingerprint(),
    install() {
      say('installing the packages that bun.lockb pins into node_modules/')
      const before = fingerprint()
      run(bun, ['install', '--frozen-lockfile'], { cwd: root })
      writeFileSync(stamp, before)
    },
  }
}
