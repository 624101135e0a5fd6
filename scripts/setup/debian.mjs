import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { attempt, run } from './command.mjs'
import { SetupFailure, say } from './failure.mjs'

/** A program that makes a Debian package unnecessary: another flavour of it, or one that was built by hand. */
const programs = new Map([
  ['iproute2', 'ip'],
  ['nginx-light', 'nginx'],
  ['wrk', 'wrk'],
  ['curl', 'curl'],
  ['qemu-system-x86', 'qemu-system-x86_64'],
  ['kmod', 'modprobe'],
])

/** @param {string} program */
const isOnPath = (program) =>
  [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'].some((directory) =>
    existsSync(join(directory, program)),
  )

/** @param {readonly string[]} names */
const installed = (names) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are dpkg-query's
  const format = '${Package} ${db:Status-Status}\\n'
  // dpkg-query fails when one of the names is unknown, but it prints the others.
  const { stdout } = attempt('dpkg-query', ['--show', '--showformat', format, ...names])
  return new Set(stdout.split('\n').flatMap((line) => (line.endsWith(' installed') ? [line.split(' ')[0]] : [])))
}

/**
 * Debian's nginx package starts a server on port 80, now and at each boot; only the program is wanted. Under systemd the
 * unit is masked while the package is configured, with `--runtime`, so that nothing of it outlives a reboot, and then
 * disabled. Elsewhere invoke-rc.d asks runlevel(8), which RUNLEVEL overrides, and starts nothing in runlevel 1.
 *
 * @param {() => void} install
 */
const withoutNginxService = (install) => {
  const systemd = existsSync('/run/systemd/system')
  if (systemd) run('systemctl', ['mask', '--runtime', '--quiet', 'nginx.service'])
  try {
    install()
  } finally {
    if (systemd) {
      run('systemctl', ['unmask', '--runtime', '--quiet', 'nginx.service'])
      attempt('systemctl', ['disable', '--quiet', 'nginx.service'])
    }
  }
}

/** @param {readonly string[]} names */
const aptInstall = (names) => {
  const options = ['--yes', '--quiet', '--option', 'DPkg::Lock::Timeout=300', '--option', 'Acquire::Retries=2']
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', PREVLEVEL: '1' }
  const install = () => attempt('apt-get', [...options, 'install', '--no-install-recommends', ...names], { env })
  // The package lists of a fresh machine are absent, and old lists name files that are gone: only then they are fetched.
  if (install().ok) return
  // It also fails when one of several sources cannot be reached; what the others hold may be enough.
  const update = attempt('apt-get', [...options, 'update'], { env })
  const result = install()
  if (result.ok) return
  const reason = update.ok ? result.output : `${update.output}\n${result.output}`
  throw new SetupFailure(`apt-get could not install ${names.join(' ')}:\n${reason}`)
}

/**
 * Programs and libraries from Debian, or from a distribution with the same package names.
 *
 * @param {readonly string[]} names
 */
export const debianPackages = (names) => {
  const missing = () => {
    if (names.length === 0) return []
    const present = installed(names)
    return names.filter((name) => !present.has(name) && !isOnPath(programs.get(name) ?? name))
  }
  return {
    isMissing: () => missing().length > 0,
    install() {
      const wanted = missing()
      if (wanted.length === 0) return
      const list = wanted.join(' ')
      if (!isOnPath('apt-get')) {
        throw new SetupFailure(`these are not installed, and there is no apt-get here to install them: ${list}.`)
      }
      if (process.getuid?.() !== 0) throw new SetupFailure(`run "apt-get install ${list}" as root first.`)
      say(`installing Debian packages: ${list}`)
      const install = () => aptInstall(wanted)
      if (wanted.includes('nginx-light')) withoutNginxService(install)
      else install()
    },
  }
}
