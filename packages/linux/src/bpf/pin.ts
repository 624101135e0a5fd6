import { statfsSync } from 'node:fs'
import { ENOENT } from '../errno.ts'
import { BPF_PRIVILEGE, checkBpf, libbpf } from '../ffi/libbpf.ts'
import { cString } from '../ffi/memory.ts'

/** include/uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11

/** Whether the path is on a bpffs (`mount -t bpf`). False when it does not exist. Throws what statfs(2) answers else. */
export function isBpfFileSystem(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/**
 * Gives a program or map, by its descriptor, a name in a bpffs. It lives until the file is removed with unlink(2), and whoever may read and
 * write the file may open it. The name must not contain a dot. Needs CAP_BPF. Throws `LinuxError`: EEXIST when the path is taken, EPERM
 * when it is on another file system.
 */
export function pinBpf(fd: number, path: string): void {
  const advice = `${BPF_PRIVILEGE}, and a directory on a bpffs that this user may write to`
  checkBpf(`bpf_obj_pin(${path})`, libbpf().bpf_obj_pin(fd, cString(path).bytes), advice)
}

/** The descriptor of what is pinned at a path, undefined when nothing is there. */
export function openPin(path: string): number | undefined {
  const fd = libbpf().bpf_obj_get(cString(path).bytes)
  if (fd === -ENOENT) return undefined
  const advice = `${BPF_PRIVILEGE}, and the right to read and write the file`
  return checkBpf(`bpf_obj_get(${path})`, fd, advice)
}
