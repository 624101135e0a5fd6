import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runTool } from '../command.ts'
import { tool } from '../tools.ts'
import { GuestError } from './errors.ts'

/** The root of the checkout. */
export const checkout = dirname(dirname(dirname(import.meta.dir)))

/** Where set-up unpacked the kernel (`scripts/setup/guest-kernel.mjs`), and where what is built for the guest is kept. */
export const guestFiles = join(checkout, '.tools/guest')

/** Debian's kernel for the guest: unpacked, not installed. */
export interface GuestKernel {
  /** As `uname -r` says it in the guest. */
  readonly release: string
  /** What QEMU loads. */
  readonly image: string
  /** `/lib/modules` of the guest. */
  readonly modules: string
  /** What kernel modules are built against. */
  readonly headers: string
}

/** The kernel that set-up unpacked. Throws {@link GuestError} when there is none. */
export function guestKernel(): GuestKernel {
  const directory = join(guestFiles, 'kernel')
  const stamp = join(directory, 'release')
  if (!existsSync(stamp)) {
    throw new GuestError(`The guest's kernel is not in ${directory}: "npm test -- --tier guest" installs it`)
  }
  const release = readFileSync(stamp, 'utf8').trim()
  return {
    release,
    image: join(directory, 'boot', `vmlinuz-${release}`),
    modules: join(directory, 'lib/modules'),
    headers: join(directory, 'usr/src', `linux-headers-${release}`),
  }
}

/** The files of modules and of all that these need, in the order in which they must be loaded. Throws for one that does not exist. */
export async function moduleFiles(kernel: GuestKernel, names: readonly string[]): Promise<string[]> {
  const root = join(guestFiles, 'kernel')
  const { stdout } = await runTool([
    ...[tool('modprobe'), '--dirname', root, '--set-version', kernel.release, '--config', '/dev/null'],
    ...['--show-depends', '--all', ...names],
  ])
  const files = stdout.split('\n').flatMap((line) => /^insmod (.*\S)/.exec(line)?.[1] ?? [])
  return [...new Set(files)]
}
