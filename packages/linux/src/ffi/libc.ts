import { dlopen, FFIType, read } from 'bun:ffi'
import { errnoName, LinuxError } from '../errno.ts'

const { i32, u32, u64_fast, i64_fast, ptr, cstring } = FFIType

/** The C library's system call wrappers, unchecked. Everything above goes through {@link check}. */
export const libc = dlopen('libc.so.6', {
  __errno_location: { args: [], returns: ptr },
  accept4: { args: [i32, ptr, ptr, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  close: { args: [i32], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
  fcntl: { args: [i32, i32, i32], returns: i32 },
  getpeername: { args: [i32, ptr, ptr], returns: i32 },
  getsockname: { args: [i32, ptr, ptr], returns: i32 },
  getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
  ioctl: { args: [i32, u64_fast, ptr], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  memfd_create: { args: [cstring, u32], returns: i32 },
  open: { args: [cstring, i32, i32], returns: i32 },
  ppoll: { args: [ptr, u64_fast, ptr, ptr], returns: i32 },
  read: { args: [i32, ptr, u64_fast], returns: i64_fast },
  recv: { args: [i32, ptr, u64_fast, i32], returns: i64_fast },
  recvmsg: { args: [i32, ptr, i32], returns: i64_fast },
  send: { args: [i32, ptr, u64_fast, i32], returns: i64_fast },
  sendfile: { args: [i32, i32, ptr, u64_fast], returns: i64_fast },
  sendmsg: { args: [i32, ptr, i32], returns: i64_fast },
  sendto: { args: [i32, ptr, u64_fast, i32, ptr, u32], returns: i64_fast },
  setns: { args: [i32, i32], returns: i32 },
  setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  shutdown: { args: [i32, i32], returns: i32 },
  socket: { args: [i32, i32, i32], returns: i32 },
  socketpair: { args: [i32, i32, i32, ptr], returns: i32 },
  syscall: { args: [i64_fast, i64_fast, ptr, i64_fast], returns: i64_fast },
  unshare: { args: [i32], returns: i32 },
  write: { args: [i32, ptr, u64_fast], returns: i64_fast },
}).symbols

const errnoLocation = libc.__errno_location()

/** errno of the last call on this thread. Must be the first thing after that call. */
export function lastErrno(): number {
  if (errnoLocation === null) throw new Error('the C library has no errno location')
  return read.i32(errnoLocation)
}

/** Returns `result`, or throws a {@link LinuxError} with errno's name when it is negative. */
export function check(call: string, result: number, advice?: string): number {
  if (result >= 0) return result
  throw new LinuxError(call, errnoName(lastErrno()), advice)
}
