import { ENOENT, errnoName, LinuxError } from '../errno.ts'
import { BPF_ID_PRIVILEGE, checkBpf, libbpf } from '../ffi/libbpf.ts'
import { libc } from '../ffi/libc.ts'
import { NativeMemory, textUntilNul } from '../ffi/memory.ts'
import { openPin } from './pin.ts'

/** What the kernel tells of a loaded program: `struct bpf_prog_info` (include/uapi/linux/bpf.h). `name` has at most 15 bytes. */
export interface BpfProgramInfo {
  readonly id: number
  /** `enum bpf_prog_type`; {@link BPF_PROG_TYPE_SCHED_CLS} for programs of tc. */
  readonly type: number
  readonly name: string
  /** The maps that it uses. Open them with `BpfMap.fromId`. */
  readonly mapIds: readonly number[]
}

export const BPF_PROG_TYPE_SCHED_CLS = 3
export const BPF_PROG_TYPE_XDP = 6

const INFO_LENGTH = 128
const MAXIMUM_MAPS = 64

/** The program with this id, undefined when there is none. Needs CAP_SYS_ADMIN. Throws {@link LinuxError}. */
export function bpfProgramInfo(id: number): BpfProgramInfo | undefined {
  const fd = libbpf().bpf_prog_get_fd_by_id(id)
  if (fd === -ENOENT) return undefined
  checkBpf(`bpf_prog_get_fd_by_id(${id})`, fd, BPF_ID_PRIVILEGE)
  return readAndClose(fd)
}

/** A descriptor of the program with this id, which the caller closes. Needs CAP_SYS_ADMIN. Throws {@link LinuxError}, ENOENT when there is none. */
export function openBpfProgram(id: number): number {
  return checkBpf(`bpf_prog_get_fd_by_id(${id})`, libbpf().bpf_prog_get_fd_by_id(id), BPF_ID_PRIVILEGE)
}

/**
 * The program that is pinned at this path of a bpffs. Undefined when nothing is there. Needs CAP_BPF, and access to the path.
 * Throws {@link LinuxError}.
 */
export function pinnedProgramInfo(path: string): BpfProgramInfo | undefined {
  const fd = openPin(path)
  return fd === undefined ? undefined : readAndClose(fd)
}

function readAndClose(fd: number): BpfProgramInfo {
  try {
    return programInfo(fd)
  } finally {
    libc.close(fd)
  }
}

/** What the kernel tells of the program behind a descriptor. Needs no privilege. Throws {@link LinuxError}. */
export function programInfo(fd: number): BpfProgramInfo {
  const ids = new NativeMemory(4 * MAXIMUM_MAPS)
  const info = new NativeMemory(INFO_LENGTH)
  const length = new NativeMemory(4)
  length.view.setUint32(0, INFO_LENGTH, true)
  info.view.setUint32(52, MAXIMUM_MAPS, true)
  info.setPointer(56, ids)
  const result = libbpf().bpf_obj_get_info_by_fd(fd, info.bytes, length.bytes)
  if (result < 0) throw new LinuxError('bpf_obj_get_info_by_fd', errnoName(-result))
  const count = Math.min(info.view.getUint32(52, true), MAXIMUM_MAPS)
  return {
    type: info.view.getUint32(0, true),
    id: info.view.getUint32(4, true),
    name: textUntilNul(info.bytes.subarray(64, 80)),
    mapIds: Array.from({ length: count }, (_, index) => ids.view.getUint32(4 * index, true)),
  }
}
