import { readFileSync, writeFileSync } from 'node:fs'
import { LinuxError } from './errno.ts'

/**
 * Reads a setting of the network stack, of the calling thread's network namespace: `sysctl('ipv4/conf/all/arp_ignore')`.
 * Throws {@link LinuxError} ENOENT when the kernel has no such setting.
 */
export function readSysctl(name: string): string {
  return attempt(`read ${path(name)}`, () => readFileSync(path(name), 'utf8').trim())
}

/** Changes a setting. Throws {@link LinuxError}: ENOENT, EPERM or EACCES, EINVAL for a value that the kernel refuses. */
export function writeSysctl(name: string, value: string | number): void {
  attempt(`write ${path(name)}`, () => writeFileSync(path(name), `${value}\n`))
}

function path(name: string): string {
  if (name.includes('..') || name.startsWith('/'))
    throw new LinuxError('sysctl', 'EINVAL', `"${name}" is no name below /proc/sys/net`)
  return `/proc/sys/net/${name}`
}

const ADVICE: Record<string, string> = {
  ENOENT: 'this kernel, or this network namespace, has no such setting or device',
  EACCES: 'it needs root in the namespace that owns the network namespace',
  EPERM: 'it needs root in the namespace that owns the network namespace',
  EROFS: '/proc/sys is mounted read-only: in a container, run it with the privilege to change network settings',
  EINVAL: 'the kernel refuses the value',
}

function attempt<Result>(call: string, operation: () => Result): Result {
  try {
    return operation()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error
    throw new LinuxError(call, code as `E${string}`, ADVICE[code])
  }
}
