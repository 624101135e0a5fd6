import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run } from './command.mjs'
import { SetupFailure, say } from './failure.mjs'

/** Drivers of real hardware, which the guest has none of, are most of a kernel's size. */
const unwanted = [
  'kernel/sound',
  ...[
    'gpu',
    'hid',
    'hwmon',
    'iio',
    'infiniband',
    'md',
    'media',
    'mmc',
    'mtd',
    'platform',
    'scsi',
    'staging',
    'usb',
  ].map((name) => `kernel/drivers/${name}`),
  ...['ethernet', 'wireless'].map((name) => `kernel/drivers/net/${name}`),
]

/**
 * The kernel that runs in the QEMU guest, and the headers that modules for it are built against: Debian's packages, unpacked
 * into `.tools/guest/kernel/`. They are not installed: that would make an initramfs, and ask for a boot loader.
 *
 * @param {string} root
 * @param {boolean} needed
 */
export const guestKernel = (root, needed) => {
  const kernel = join(root, '.tools/guest/kernel')
  const stamp = join(kernel, 'release')
  return {
    isMissing: () => needed && !existsSync(stamp),
    install() {
      if (!needed || existsSync(stamp)) return
      if (process.arch !== 'x64') {
        throw new SetupFailure('the guest runs programs of this machine on an x86-64 kernel: give --tier netns here.')
      }
      say("unpacking Debian's kernel for the guest into .tools/guest/kernel/")
      const partial = `${kernel}.partial`
      rmSync(partial, { recursive: true, force: true })
      mkdirSync(partial, { recursive: true })
      const { release, packages } = findPackages()
      run('apt-get', [...aptOptions, 'download', ...packages], { cwd: partial })
      for (const file of readdirSync(partial)) {
        run('dpkg-deb', ['--extract', file, '.'], { cwd: partial })
        rmSync(join(partial, file))
      }
      const modules = join(partial, 'lib/modules', release)
      for (const path of [...unwanted, 'build', 'source']) rmSync(join(modules, path), { recursive: true, force: true })
      makeRelocatable(join(partial, 'usr/src', `linux-headers-${release}`, 'Makefile'))
      run('depmod', ['--basedir', partial, release])
      writeFileSync(join(partial, 'release'), `${release}\n`)
      rmSync(kernel, { recursive: true, force: true })
      renameSync(partial, kernel)
    },
  }
}

const aptOptions = ['--quiet', '--option', 'Acquire::Retries=2', '--option', 'APT::Sandbox::User=root']

/** The packages of one version of the kernel: of that which Debian's `linux-headers-amd64` stands for now. */
const findPackages = () => {
  const found = packagesInLists()
  if (found !== undefined) return found
  // The package lists of a fresh machine are absent.
  const update = attempt('apt-get', [...aptOptions, 'update'])
  const updated = packagesInLists()
  if (updated === undefined)
    throw new SetupFailure(`apt knows no "linux-headers-amd64", the guest's:\n${update.output}`)
  return updated
}

const packagesInLists = () => {
  const headers = dependencies('linux-headers-amd64').find((name) => name.startsWith('linux-headers-'))
  if (headers === undefined) return
  const release = headers.replace('linux-headers-', '')
  const parts = dependencies(headers).filter((name) => /^linux-(headers|kbuild)-/.test(name))
  return { release, packages: [`linux-image-${release}`, headers, ...parts] }
}

/** @param {string} name */
const dependencies = (name) => {
  const { stdout } = attempt('apt-cache', ['show', '--no-all-versions', name])
  const line = /^Depends: (.*)$/m.exec(stdout)?.[1] ?? ''
  return line.split(/[,|]/).flatMap((dependency) => /[\w.+-]+/.exec(dependency)?.[0] ?? [])
}

/**
 * The headers' Makefile includes another by its path on a system where they are installed.
 *
 * @param {string} makefile
 */
const makeRelocatable = (makefile) => {
  const directory = '$(dir $(abspath $(lastword $(MAKEFILE_LIST))))'
  const text = readFileSync(makefile, 'utf8').replaceAll(/\/usr\/src\//g, `${directory}../`)
  writeFileSync(makefile, text)
}
