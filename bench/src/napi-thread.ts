import { readdirSync, readFileSync } from 'node:fs'
import type { Host } from '@xoffload/testbed'

/**
 * Lets a thread of the kernel receive what comes to a device (threaded NAPI, Documentation/networking/napi.rst), on one processor: so
 * what sends can have another one for itself. The device must have a NAPI queue, as a veth with GRO has. Throws when the kernel has
 * made no thread.
 */
export async function receiveOn(processor: number, host: Host, device: string): Promise<void> {
  const before = new Set(napiThreads(device))
  // The sysfs of a network namespace shows in a mount that was made in it.
  await host.run([
    'unshare',
    '--mount',
    'sh',
    '-c',
    `mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/${device}/threaded`,
  ])
  const [thread, ...others] = napiThreads(device).filter((pid) => !before.has(pid))
  if (thread === undefined || others.length > 0) throw new Error(`${device} has no receiving thread of its own`)
  await pin(thread, processor, host)
}

/** Keeps a process, with all of its threads, or a thread of the kernel on one processor. */
export async function pin(pid: number, processor: number, host: Host): Promise<void> {
  await host.run(['taskset', '--all-tasks', '--cpu-list', '--pid', `${processor}`, `${pid}`])
}

/** The kernel names them `napi/DEVICE-ID`, cut to 15 characters (net/core/dev.c: napi_kthread_create). */
function napiThreads(device: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => commandOf(pid).startsWith(`napi/${device}-`))
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8')
  } catch {
    // It has ended.
    return ''
  }
}
