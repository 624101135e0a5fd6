import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { attempt, run } from './command.mjs'
import { SetupFailure, say } from './failure.mjs'

/**
 * The Bun that everything runs on, from npm, in `.tools/`. Its version is pinned by `packageManager` in the root package.json.
 *
 * @param {string} root
 */
export const bunTool = (root) => {
  const tools = join(root, '.tools')
  const bin = join(tools, 'bin')
  const manifest = readFileSync(join(root, 'package.json'), 'utf8')
  const version = /^bun@(.+)$/.exec(JSON.parse(manifest).packageManager)?.[1]
  if (version === undefined) throw new Error('package.json: "packageManager" must be bun@VERSION')

  const installedVersion = () => {
    const path = join(tools, 'node_modules/bun/package.json')
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : undefined
  }

  /**
   * Where npm may have left the executable: in `bun` itself when npm ran its install script, else only in the package of
   * the platform. npm may install those of several C libraries, of which one runs.
   */
  const candidates = () => {
    const platforms = join(tools, 'node_modules/@oven')
    const directories = existsSync(platforms) ? readdirSync(platforms).map((name) => join(platforms, name)) : []
    return [join(tools, 'node_modules/bun/bin/bun.exe'), ...directories.map((directory) => join(directory, 'bin/bun'))]
  }

  const link = () => {
    const executable = candidates().find((path) => attempt(path, ['--version']).stdout.trim() === version)
    if (executable === undefined) return false
    mkdirSync(bin, { recursive: true })
    for (const name of ['bun', 'bunx']) {
      rmSync(join(bin, name), { force: true })
      symlinkSync(relative(bin, executable), join(bin, name))
    }
    return true
  }

  return {
    /** The directory that holds `bun` and `bunx`. */
    bin,
    executable: join(bin, 'bun'),
    isMissing: () => installedVersion() !== version || !existsSync(join(bin, 'bun')),
    install() {
      if (installedVersion() === version && link()) return
      say(`installing Bun ${version} from npm into .tools/`)
      // What an interrupted installation left would look complete to npm.
      rmSync(join(tools, 'node_modules'), { recursive: true, force: true })
      mkdirSync(tools, { recursive: true })
      // Without a package.json here npm would walk up to the workspace root, which it cannot install.
      writeFileSync(join(tools, 'package.json'), '{ "private": true }\n')
      run('npm', [
        'install',
        ...['--prefix', tools, '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'],
        // The executable is in an optional package; an install script is not needed, and not every npm runs it.
        ...['--include=optional', '--ignore-scripts', `bun@${version}`],
      ])
      if (!link()) {
        throw new SetupFailure(`npm has no Bun ${version} that runs on ${process.platform} ${process.arch}.`)
      }
    },
  }
}
