import { check, libc } from './ffi/libc.ts'

/** sched_setattr(2), by architecture (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h). */
const SYS_SCHED_SETATTR: Partial<Record<NodeJS.Architecture, number>> = { x64: 314, arm64: 274 }
/** struct sched_attr, first version (include/uapi/linux/sched/types.h). */
const ATTR_LENGTH = 48
const SCHED_OTHER = 0

/**
 * Asks the scheduler for short time slices for the calling thread: it waits less for its turn, and has it shorter (EEVDF, Linux 6.12;
 * an earlier kernel takes the request and ignores it). The kernel takes 100 to 100,000 microseconds; by default a slice is some 3,000.
 * False on an architecture that this is not known for. Throws {@link LinuxError}.
 */
export function requestTimeSlice(microseconds: number): boolean {
  const number = SYS_SCHED_SETATTR[process.arch]
  if (number === undefined) return false
  const attr = new Uint8Array(ATTR_LENGTH)
  const view = new DataView(attr.buffer)
  view.setUint32(0, ATTR_LENGTH, true)
  view.setUint32(4, SCHED_OTHER, true)
  view.setBigUint64(24, BigInt(Math.round(microseconds * 1000)), true)
  check('sched_setattr', Number(libc.syscall(number, 0, attr, 0)))
  return true
}
