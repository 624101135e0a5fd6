import type { Guest } from './guest.ts'

/**
 * Messages that are never harmless: a WARNING with its trace, and the kernel's own words for what cannot be (lib/bug.c,
 * net/core/dev.c, kernel/rcu/tree_stall.h, kernel/hung_task.c, kernel/watchdog.c, mm/slub.c, lib/refcount.c).
 */
const complaint =
  /\b(WARNING: |BUG: |BUG |Oops: |general protection fault|refcount_t: |unregister_netdevice: waiting|blocked for more than|detected stalls|self-detected stall|soft lockup|double free)/

/**
 * Taints of a kernel in which something went wrong (kernel Documentation/admin-guide/tainted-kernels.rst): bad page, died, warned,
 * locked up. Unlike messages they are never overwritten. The virtual NIC's own taint, a module from elsewhere, is none of these.
 */
const taints: Readonly<Record<number, string>> = { 5: 'bad page', 7: 'oops', 9: 'warning', 14: 'soft lockup' }

/** The kernel's messages that tell of a fault in it, the oldest first. */
export async function kernelProblems(guest: Guest): Promise<string[]> {
  const { stdout } = await guest.run(['sh', '-ec', 'cat /proc/sys/kernel/tainted; dmesg --notime'])
  const end = stdout.indexOf('\n')
  return problemsIn(Number(stdout.slice(0, end)), stdout.slice(end + 1))
}

/** What of a kernel's taint and log tells of a fault. */
export function problemsIn(taint: number, log: string): string[] {
  const lines = log.split('\n').filter((line) => complaint.test(line))
  if (lines.length > 0) return lines
  return Object.entries(taints)
    .filter(([bit]) => (taint & (1 << Number(bit))) !== 0)
    .map(([, name]) => `${name} (the kernel is tainted; its message is no longer in the log)`)
}
