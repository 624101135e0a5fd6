import { check, libc } from './ffi/libc.ts'
import { cString } from './ffi/memory.ts'
import { O_CLOEXEC, O_RDONLY } from './socket/constants.ts'

const CLONE_NEWNET = 0x40000000

/**
 * Moves the calling thread into another network namespace for good: `/run/netns/NAME`, `/proc/PID/ns/net`. Sockets that are open
 * already stay where they were made; what a runtime's other threads do (DNS, files) stays in the old namespace.
 * Throws {@link LinuxError}.
 */
export function enterNetworkNamespace(path: string): void {
  const fd = openNamespace(path)
  try {
    check(`setns(${path})`, libc.setns(fd, CLONE_NEWNET), 'it needs root, or the capability CAP_SYS_ADMIN')
  } finally {
    libc.close(fd)
  }
}

/**
 * Runs a function in another network namespace and comes back. The function must be synchronous: whatever awaits would go on in
 * the caller's namespace. Throws {@link LinuxError}.
 */
export function inNetworkNamespace<Result>(path: string, run: () => Result): Result {
  const own = openNamespace('/proc/thread-self/ns/net')
  try {
    enterNetworkNamespace(path)
    try {
      return run()
    } finally {
      check('setns(back)', libc.setns(own, CLONE_NEWNET))
    }
  } finally {
    libc.close(own)
  }
}

function openNamespace(path: string): number {
  const text = cString(path)
  return check(`open(${path})`, libc.open(text.bytes, O_RDONLY | O_CLOEXEC, 0), 'there is no such network namespace')
}
