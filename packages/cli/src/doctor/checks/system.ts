import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { type Check, failed, ok, skipped, warning } from '../check.ts'

/** Linux 5.8 separated CAP_BPF from CAP_SYS_ADMIN and has all that the BPF programs use. */
const OLDEST_KERNEL = [5, 8] as const
const OLDEST_BUN = '>=1.4.5'

export const kernelCheck: Check = {
  name: 'kernel',
  run() {
    const version = release()
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const [oldestMajor, oldestMinor] = OLDEST_KERNEL
    if (process.platform !== 'linux') return failed(`this is ${process.platform}: gateway and server need Linux`)
    if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
      return failed(`Linux ${version} is too old: install ${OLDEST_KERNEL.join('.')} or newer`)
    return ok(`Linux ${version}`)
  },
}

export const bunCheck: Check = {
  name: 'bun',
  run() {
    if (Bun.semver.satisfies(Bun.version, OLDEST_BUN)) return ok(`Bun ${Bun.version}`)
    return failed(`Bun ${Bun.version} is too old: install ${OLDEST_BUN.slice(2)} or newer`)
  },
}

const JIT_SETTING = '/proc/sys/net/core/bpf_jit_enable'

/** BPF programs run several times faster when they are compiled (Documentation/admin-guide/sysctl/net.rst). */
export const jitCheck: Check = {
  name: 'bpf-jit',
  run() {
    let value: string
    try {
      value = readFileSync(JIT_SETTING, 'utf8').trim()
    } catch {
      return skipped(`${JIT_SETTING} can be read by root only, in the host's first network namespace`)
    }
    if (value !== '0') return ok('BPF programs are compiled')
    return warning('BPF programs are interpreted, which is slow: sysctl net.core.bpf_jit_enable=1')
  },
}
