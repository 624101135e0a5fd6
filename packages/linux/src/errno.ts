import { constants } from 'node:os'
import { XoffloadError } from '@xoffload/core'

/** The errno numbers that callers tell apart. */
export const {
  E2BIG,
  EADDRINUSE,
  EAGAIN,
  EBUSY,
  ECONNREFUSED,
  EEXIST,
  EINVAL,
  ENOBUFS,
  ENOENT,
  ENOMEM,
  ENOSPC,
  EPERM,
} = constants.errno

/** An errno name of Linux, such as `EADDRINUSE` (include/uapi/asm-generic/errno.h). */
export type ErrnoName = keyof typeof constants.errno | `E${string}`

const names = new Map<number, ErrnoName>(
  Object.entries(constants.errno).map(([name, number]) => [number, name as ErrnoName]),
)
// Node's table is the portable part; these are the others that this project's calls can return.
// Where two names have one number, the one that the man pages use comes last and wins.
for (const [number, name] of [
  [11, 'EAGAIN'],
  [19, 'ENODEV'],
  [92, 'ENOPROTOOPT'],
  [95, 'EOPNOTSUPP'],
  [132, 'ERFKILL'],
  [524, 'ENOTSUPP'],
] as const) {
  names.set(number, name)
}

/** The name of an errno number, `E<number>` for one without a name. */
export function errnoName(number: number): ErrnoName {
  return names.get(number) ?? `E${number}`
}

/** A call into the kernel or a C library failed. `errno` is the error's name, `call` says what was called. */
export class LinuxError extends XoffloadError {
  readonly errno: ErrnoName
  readonly call: string

  constructor(call: string, errno: ErrnoName, advice?: string) {
    super('LINUX', `${call} failed with ${errno}${advice === undefined ? '' : `: ${advice}`}`)
    this.call = call
    this.errno = errno
  }
}
