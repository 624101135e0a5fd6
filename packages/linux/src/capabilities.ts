import { readFileSync } from 'node:fs'

/** include/uapi/linux/capability.h: the place in the list is the number of the capability. */
const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const

/** A capability by its name (capabilities(7)). */
export type Capability = (typeof CAPABILITIES)[number]

/** The capabilities whose bits are set in a mask such as `CapEff` of proc_pid_status(5). Bits without a name are left out. */
export function decodeCapabilities(mask: bigint): Set<Capability> {
  return new Set(CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n))
}

/**
 * What the calling thread may do now: its effective set (capabilities(7)). The capabilities hold in its user namespace; those that
 * guard the whole machine, such as CAP_BPF, have their force in the first one only. Throws an error when /proc is not mounted.
 */
export function effectiveCapabilities(): Set<Capability> {
  const status = readFileSync('/proc/thread-self/status', 'utf8')
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  if (mask === undefined) throw new Error('/proc/thread-self/status has no line CapEff')
  return decodeCapabilities(BigInt(`0x${mask}`))
}
