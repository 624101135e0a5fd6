import { check, libc } from '../ffi/libc.ts'

// Shared by all calls of this thread: no call below yields between filling one and reading it.
const value = new Int32Array(1)
const length = new Uint32Array(1)

/** getsockopt(2) of an `int`. */
export function getOption(fd: number, level: number, option: number, call: string): number {
  length[0] = 4
  check(call, libc.getsockopt(fd, level, option, value, length))
  return value[0] as number
}

/** setsockopt(2) of an `int`. */
export function setOption(fd: number, level: number, option: number, to: number, call: string, advice?: string): void {
  value[0] = to
  check(call, libc.setsockopt(fd, level, option, value, 4), advice)
}

/** getsockopt(2) into a buffer. Returns how many bytes the kernel wrote. */
export function getOptionBytes(
  fd: number,
  level: number,
  option: number,
  into: Uint8Array | Uint32Array,
  call: string,
): number {
  length[0] = into.byteLength
  check(call, libc.getsockopt(fd, level, option, into, length))
  return length[0] as number
}

/** setsockopt(2) of a structure. */
export function setOptionBytes(
  fd: number,
  level: number,
  option: number,
  from: Uint8Array | Uint32Array,
  call: string,
): void {
  check(call, libc.setsockopt(fd, level, option, from, from.byteLength))
}

/** ioctl(2) that yields an `int`. */
export function ioctlNumber(fd: number, request: number, call: string): number {
  check(call, libc.ioctl(fd, request, value))
  return value[0] as number
}
