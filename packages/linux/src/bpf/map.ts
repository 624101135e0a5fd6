import { E2BIG, ENOENT, ENOSPC, EPERM, errnoName, LinuxError } from '../errno.ts'
import { BPF_ID_PRIVILEGE, BPF_PRIVILEGE, checkBpf, libbpf } from '../ffi/libbpf.ts'
import { libc } from '../ffi/libc.ts'
import { NativeMemory, textUntilNul } from '../ffi/memory.ts'
import { openPin } from './pin.ts'

/** Flags of map operations (include/uapi/linux/bpf.h). */
export const BPF_ANY = 0
export const BPF_NOEXIST = 1
export const BPF_EXIST = 2
/** Read or change the value in place under the `struct bpf_spin_lock` that it contains. */
export const BPF_F_LOCK = 4

/** `struct bpf_map_info` (include/uapi/linux/bpf.h). `name` is cut to 15 bytes by the kernel. */
export interface BpfMapInfo {
  readonly type: number
  readonly id: number
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly name: string
}

/** Some entries of a map: `count` keys one after the other, and as many values. The arrays are used again for the next batch. */
export interface BpfMapBatch {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
}

/**
 * A BPF map behind a file descriptor. Keys and values are copied to and from buffers that are allocated once, so that an operation
 * is little more than its system call. Every method throws {@link LinuxError}.
 */
export class BpfMap {
  readonly info: BpfMapInfo
  readonly fd: number
  readonly #owned: boolean
  readonly #key: NativeMemory
  readonly #value: NativeMemory
  readonly #library = libbpf()
  #closed = false

  /** With `owned`, {@link close} closes the descriptor. */
  constructor(fd: number, owned: boolean) {
    this.fd = fd
    this.#owned = owned
    this.info = readMapInfo(fd)
    this.#key = new NativeMemory(this.info.keySize)
    this.#value = new NativeMemory(this.info.valueSize)
  }

  /** Opens a map of any process by its id. ENOENT when there is none. Needs CAP_SYS_ADMIN. */
  static fromId(id: number): BpfMap {
    const fd = libbpf().bpf_map_get_fd_by_id(id)
    return new BpfMap(checkBpf(`bpf_map_get_fd_by_id(${id})`, fd, BPF_ID_PRIVILEGE), true)
  }

  /** Opens the map that is pinned at this path of a bpffs. Undefined when nothing is there. Needs CAP_BPF, and access to the path. */
  static fromPin(path: string): BpfMap | undefined {
    const fd = openPin(path)
    return fd === undefined ? undefined : new BpfMap(fd, true)
  }

  /** Inserts or replaces, subject to `flags`. E2BIG when the map is full, EEXIST or ENOENT as the flags say. */
  update(key: Uint8Array, value: Uint8Array, flags: number = BPF_ANY): void {
    this.#setKey(key)
    if (value.length !== this.info.valueSize)
      throw new LinuxError(this.#call('update'), 'EINVAL', 'the value has a wrong length')
    this.#value.bytes.set(value)
    const result = this.#library.bpf_map_update_elem(this.fd, this.#key.pointer, this.#value.pointer, flags)
    if (result < 0) this.#fail('update', -result)
  }

  /** The value, in a buffer that the next lookup overwrites; undefined when there is no such key. */
  lookup(key: Uint8Array, flags = 0): Uint8Array | undefined {
    this.#setKey(key)
    const result = this.#library.bpf_map_lookup_elem_flags(this.fd, this.#key.pointer, this.#value.pointer, flags)
    if (result === -ENOENT) return undefined
    if (result < 0) this.#fail('lookup', -result)
    return this.#value.bytes
  }

  /** False when there was no such key. */
  delete(key: Uint8Array): boolean {
    this.#setKey(key)
    const result = this.#library.bpf_map_delete_elem(this.fd, this.#key.pointer)
    if (result === -ENOENT) return false
    if (result < 0) this.#fail('delete', -result)
    return true
  }

  /**
   * All entries, in batches of about `size`. An entry that comes or goes meanwhile may be missing or present.
   * `flags`: 0 or {@link BPF_F_LOCK}. Needs Linux 5.6.
   */
  *batches(size = 1024, flags = 0): Generator<BpfMapBatch, void, undefined> {
    const { keySize, valueSize } = this.info
    let room = size
    // Where the next call goes on: the kernel's own affair, never larger than a key or four bytes.
    let here = new NativeMemory(Math.max(keySize, 4))
    let next = new NativeMemory(Math.max(keySize, 4))
    let started = false
    const count = new NativeMemory(4)
    const options = new NativeMemory(24)
    options.view.setBigUint64(0, 24n, true)
    options.view.setBigUint64(8, BigInt(flags), true)
    let keys = new NativeMemory(room * keySize)
    let values = new NativeMemory(room * valueSize)
    for (;;) {
      count.view.setUint32(0, room, true)
      const result = this.#library.bpf_map_lookup_batch(
        this.fd,
        started ? here.bytes : null,
        next.bytes,
        keys.bytes,
        values.bytes,
        count.bytes,
        options.bytes,
      )
      if (result === -ENOSPC) {
        // One bucket alone holds more entries than there is room for.
        room *= 2
        keys = new NativeMemory(room * keySize)
        values = new NativeMemory(room * valueSize)
        continue
      }
      if (result < 0 && result !== -ENOENT) this.#fail('lookup_batch', -result)
      const found = count.view.getUint32(0, true)
      if (found > 0) {
        yield {
          count: found,
          keys: keys.bytes.subarray(0, found * keySize),
          values: values.bytes.subarray(0, found * valueSize),
        }
      }
      if (result === -ENOENT) return
      ;[here, next] = [next, here]
      started = true
    }
  }

  /** Every key, copied. */
  *keys(): Generator<Uint8Array, void, undefined> {
    const { keySize } = this.info
    for (const { count, keys } of this.batches()) {
      for (let index = 0; index < count; index++) yield keys.slice(index * keySize, (index + 1) * keySize)
    }
  }

  /** Safe to call twice. The map itself lives until its last user lets go. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#owned) libc.close(this.fd)
  }

  #setKey(key: Uint8Array): void {
    if (key.length !== this.info.keySize)
      throw new LinuxError(this.#call('key'), 'EINVAL', 'the key has a wrong length')
    // A descriptor number is used again after it was closed: never touch what may be another map.
    if (this.#closed) throw new LinuxError(this.#call('use'), 'EBADF', 'the map is closed')
    this.#key.bytes.set(key)
  }

  #call(operation: string): string {
    return `bpf map ${operation} (${this.info.name})`
  }

  #fail(operation: string, errno: number): never {
    let advice: string | undefined
    if (errno === E2BIG) advice = `the map is full: it has room for ${this.info.maxEntries} entries`
    else if (errno === EPERM) advice = BPF_PRIVILEGE
    throw new LinuxError(this.#call(operation), errnoName(errno), advice)
  }
}

function readMapInfo(fd: number): BpfMapInfo {
  const info = new NativeMemory(80)
  const length = new NativeMemory(4)
  length.view.setUint32(0, 80, true)
  checkBpf('bpf_obj_get_info_by_fd', libbpf().bpf_obj_get_info_by_fd(fd, info.bytes, length.bytes))
  return {
    type: info.view.getUint32(0, true),
    id: info.view.getUint32(4, true),
    keySize: info.view.getUint32(8, true),
    valueSize: info.view.getUint32(12, true),
    maxEntries: info.view.getUint32(16, true),
    name: textUntilNul(info.bytes.subarray(24, 40)),
  }
}
