import { errnoName, LinuxError } from './errno.ts'
import { lastErrno, libc } from './ffi/libc.ts'
import { NativeMemory } from './ffi/memory.ts'

const POLLIN = 1
/** `sizeof(struct pollfd)` (include/uapi/asm-generic/poll.h). */
const POLLFD = 8

/**
 * Blocks the thread until one of the descriptors can be read, has an error or was hung up, or until the time is over (ppoll(2)):
 * for programs that do nothing else. Tells of each descriptor whether it is one of those.
 * @param microseconds without it, there is no limit. Throws {@link LinuxError}.
 */
export function waitReadable(fds: readonly number[], microseconds?: number): boolean[] {
  const memory = new NativeMemory(POLLFD * fds.length)
  for (const [index, fd] of fds.entries()) {
    memory.view.setInt32(POLLFD * index, fd, true)
    memory.view.setInt16(POLLFD * index + 4, POLLIN, true)
  }
  const result = libc.ppoll(memory.bytes, fds.length, timespec(microseconds), null)
  if (result < 0) {
    const errno = errnoName(lastErrno())
    // A signal: the caller looks again.
    if (errno !== 'EINTR') throw new LinuxError('ppoll', errno)
  }
  return fds.map((_, index) => result > 0 && memory.view.getInt16(POLLFD * index + 6, true) !== 0)
}

function timespec(microseconds: number | undefined): Uint8Array | null {
  if (microseconds === undefined) return null
  const seconds = Math.floor(microseconds / 1e6)
  const nanoseconds = Math.round((microseconds - seconds * 1e6) * 1000)
  return new Uint8Array(new BigInt64Array([BigInt(seconds), BigInt(Math.min(nanoseconds, 999_999_999))]).buffer)
}
