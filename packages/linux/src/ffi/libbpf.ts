import { dlopen, FFIType, type Pointer } from 'bun:ffi'
import { XoffloadError } from '@xoffload/core'
import { errnoName, LinuxError } from '../errno.ts'
import { lastErrno } from './libc.ts'

const { i32, u32, u64_fast, ptr } = FFIType

/** A shared library that this host lacks. The message names the package to install. */
export class LibraryMissingError extends XoffloadError {
  constructor(message: string, options?: ErrorOptions) {
    super('LIBRARY_MISSING', message, options)
  }
}

const declarations = {
  libbpf_set_print: { args: [ptr], returns: ptr },
  bpf_object__open_mem: { args: [ptr, u64_fast, ptr], returns: ptr },
  bpf_object__load: { args: [ptr], returns: i32 },
  bpf_object__close: { args: [ptr], returns: 'void' },
  bpf_object__find_map_by_name: { args: [ptr, ptr], returns: ptr },
  bpf_object__find_program_by_name: { args: [ptr, ptr], returns: ptr },
  bpf_map__fd: { args: [ptr], returns: i32 },
  bpf_map__reuse_fd: { args: [ptr, i32], returns: i32 },
  bpf_map__set_max_entries: { args: [ptr, u32], returns: i32 },
  bpf_program__fd: { args: [ptr], returns: i32 },
  bpf_map_update_elem: { args: [i32, ptr, ptr, u64_fast], returns: i32 },
  bpf_map_lookup_elem_flags: { args: [i32, ptr, ptr, u64_fast], returns: i32 },
  bpf_map_delete_elem: { args: [i32, ptr], returns: i32 },
  bpf_map_lookup_batch: { args: [i32, ptr, ptr, ptr, ptr, ptr, ptr], returns: i32 },
  bpf_obj_get: { args: [ptr], returns: i32 },
  bpf_obj_pin: { args: [i32, ptr], returns: i32 },
  bpf_obj_get_info_by_fd: { args: [i32, ptr, ptr], returns: i32 },
  bpf_map_get_fd_by_id: { args: [u32], returns: i32 },
  bpf_prog_get_fd_by_id: { args: [u32], returns: i32 },
  bpf_tc_hook_create: { args: [ptr], returns: i32 },
  bpf_tc_hook_destroy: { args: [ptr], returns: i32 },
  bpf_tc_attach: { args: [ptr, ptr], returns: i32 },
  bpf_tc_detach: { args: [ptr, ptr], returns: i32 },
  bpf_tc_query: { args: [ptr, ptr], returns: i32 },
  bpf_xdp_attach: { args: [i32, i32, u32, ptr], returns: i32 },
  bpf_xdp_detach: { args: [i32, u32, ptr], returns: i32 },
  bpf_xdp_query_id: { args: [i32, i32, ptr], returns: i32 },
  bpf_prog_test_run_opts: { args: [i32, ptr], returns: i32 },
} as const

type Libbpf = ReturnType<typeof dlopen<typeof declarations>>['symbols']

let loaded: Libbpf | undefined

/**
 * The functions of libbpf 1.x, unchecked. They answer a negative errno, or NULL with errno set.
 * Throws {@link LibraryMissingError} when the library is not installed.
 */
export function libbpf(): Libbpf {
  if (loaded === undefined) {
    loaded = openLibrary('libbpf.so.1')
    // libbpf prints to stderr unless it is told not to; what it has to say ends up in our errors.
    loaded.libbpf_set_print(null)
  }
  return loaded
}

function openLibrary(name: string): Libbpf {
  try {
    return dlopen(name, declarations).symbols
  } catch (cause) {
    const message = `${name} cannot be opened: install libbpf 1.0 or newer (Debian, Ubuntu: apt-get install libbpf1)`
    throw new LibraryMissingError(message, { cause })
  }
}

/** Why bpf(2) answers EPERM. */
export const BPF_PRIVILEGE =
  'it needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN in the initial user namespace'

/** Why the kernel opens nothing by its id (kernel/bpf/syscall.c, bpf_prog_get_fd_by_id and bpf_map_get_fd_by_id). */
export const BPF_ID_PRIVILEGE =
  'opening by id needs root, or the capability CAP_SYS_ADMIN; opening what is pinned in a bpffs needs neither'

/** Returns `result`, or throws a {@link LinuxError} for the negative errno that it is. */
export function checkBpf(call: string, result: number, advice?: string): number {
  if (result >= 0) return result
  throw bpfError(call, -result, advice)
}

/** Returns the pointer, or throws a {@link LinuxError} for errno when it is NULL. */
export function checkPointer(call: string, result: Pointer | bigint | null, advice?: string): Pointer {
  if (result !== null) return result as Pointer
  throw bpfError(call, lastErrno(), advice)
}

function bpfError(call: string, errno: number, advice: string | undefined): LinuxError {
  const name = errnoName(errno)
  return new LinuxError(call, name, advice ?? (name === 'EPERM' ? BPF_PRIVILEGE : undefined))
}
