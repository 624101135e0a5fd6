import { errnoName, LinuxError } from '../errno.ts'
import { BPF_PRIVILEGE, checkPointer, libbpf } from '../ffi/libbpf.ts'
import { cString, NativeMemory, type Pointer, textUntilNul } from '../ffi/memory.ts'
import { BpfMap } from './map.ts'

/** How one map of an object differs from what its source says. */
export interface BpfMapOptions {
  readonly maxEntries?: number
  /** Use this existing map instead of making one. It must have the same type and sizes. */
  readonly reuse?: BpfMap
}

export interface BpfObjectOptions {
  /** For the kernel's and libbpf's own messages. */
  readonly name?: string
  readonly maps?: Readonly<Record<string, BpfMapOptions>>
}

const LOG_LENGTH = 1024 * 1024
const OPEN_OPTIONS_LENGTH = 80

/**
 * A compiled BPF object (ELF) whose maps and programs are in the kernel. They stay there as long as this object is open, or as
 * something else holds them (an attached filter holds its program, and the program its maps).
 */
export class BpfObject {
  readonly #object: Pointer
  readonly #maps = new Map<string, BpfMap>()
  #closed = false

  private constructor(object: Pointer) {
    this.#object = object
  }

  /**
   * Loads the object. It needs no vmlinux BTF as long as its programs use no CO-RE relocations.
   * Throws {@link LinuxError}; when the verifier refuses a program, with the end of the verifier's log.
   */
  static load(bytes: Uint8Array, options: BpfObjectOptions = {}): BpfObject {
    const log = new NativeMemory(LOG_LENGTH)
    const object = open(bytes, options.name ?? 'xoffload', log)
    const loaded = new BpfObject(object)
    try {
      for (const [name, map] of Object.entries(options.maps ?? {})) loaded.#configure(name, map)
      const result = libbpf().bpf_object__load(object)
      if (result < 0) throw loadError(-result, textUntilNul(log.bytes))
      return loaded
    } catch (error) {
      loaded.close()
      throw error
    }
  }

  /** The map's descriptor belongs to this object. Throws {@link LinuxError} when the object has no such map. */
  map(name: string): BpfMap {
    let map = this.#maps.get(name)
    if (map === undefined) {
      map = new BpfMap(libbpf().bpf_map__fd(this.#findMap(name)), false)
      this.#maps.set(name, map)
    }
    return map
  }

  /** The file descriptor of a program by its C function's name. It belongs to this object. Throws {@link LinuxError}. */
  program(name: string): number {
    const program = libbpf().bpf_object__find_program_by_name(this.#object, cString(name).bytes)
    return libbpf().bpf_program__fd(checkPointer(`bpf_object__find_program_by_name(${name})`, program))
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const map of this.#maps.values()) map.close()
    libbpf().bpf_object__close(this.#object)
  }

  #findMap(name: string): Pointer {
    const map = libbpf().bpf_object__find_map_by_name(this.#object, cString(name).bytes)
    return checkPointer(`bpf_object__find_map_by_name(${name})`, map)
  }

  #configure(name: string, { maxEntries, reuse }: BpfMapOptions): void {
    const map = this.#findMap(name)
    if (maxEntries !== undefined) {
      checkResult(
        `bpf_map__set_max_entries(${name}, ${maxEntries})`,
        libbpf().bpf_map__set_max_entries(map, maxEntries),
      )
    }
    if (reuse !== undefined) checkResult(`bpf_map__reuse_fd(${name})`, libbpf().bpf_map__reuse_fd(map, reuse.fd))
  }
}

function open(bytes: Uint8Array, name: string, log: NativeMemory): Pointer {
  const options = new NativeMemory(OPEN_OPTIONS_LENGTH)
  options.view.setBigUint64(0, BigInt(OPEN_OPTIONS_LENGTH), true)
  options.setPointer(8, cString(name))
  options.setPointer(56, log)
  options.view.setBigUint64(64, BigInt(LOG_LENGTH), true)
  const object = libbpf().bpf_object__open_mem(bytes, bytes.length, options.bytes)
  return checkPointer('bpf_object__open_mem', object, 'these bytes are no BPF object that libbpf can read')
}

function checkResult(call: string, result: number): void {
  if (result < 0) throw new LinuxError(call, errnoName(-result))
}

function loadError(errno: number, log: string): LinuxError {
  const name = errnoName(errno)
  const call = 'bpf_object__load'
  if (name === 'EPERM') return new LinuxError(call, name, BPF_PRIVILEGE)
  const lines = log.trimEnd().split('\n')
  if (lines.length < 2)
    return new LinuxError(call, name, 'the kernel said nothing more; is it built with CONFIG_BPF_SYSCALL?')
  return new LinuxError(call, name, `the kernel refuses the program:\n${lines.slice(-25).join('\n')}`)
}
