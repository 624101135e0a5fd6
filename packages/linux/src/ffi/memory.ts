import { type Pointer, ptr } from 'bun:ffi'

export type { Pointer }

/** What C code reaches through a pointer that is stored in other bytes, kept alive as long as these. */
const reachable = new WeakMap<Uint8Array, NativeMemory[]>()

/**
 * Bytes at a fixed address that C code may read and write, for structures and for buffers of a hot path: taking the address once
 * is cheaper than at every call. The memory lives as long as `bytes`, so pass `bytes` where nothing else holds this object for the
 * time of the call, and `pointer` only where a field holds it.
 */
export class NativeMemory {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly view: DataView
  readonly pointer: Pointer

  constructor(length: number) {
    // The array buffer comes first: a typed array without one may move its storage when its buffer is asked for.
    const buffer = new ArrayBuffer(Math.max(length, 8))
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.pointer = ptr(this.bytes)
  }

  /** Stores the address of `target` at `offset`, and keeps `target` alive as long as these bytes. */
  setPointer(offset: number, target: NativeMemory): void {
    const kept = reachable.get(this.bytes)
    if (kept === undefined) reachable.set(this.bytes, [target])
    else kept.push(target)
    this.view.setBigUint64(offset, BigInt(target.pointer), true)
  }
}

/** Text as C expects it: UTF-8 with a NUL at the end. */
export function cString(text: string): NativeMemory {
  const encoded = new TextEncoder().encode(text)
  const memory = new NativeMemory(encoded.length + 1)
  memory.bytes.set(encoded)
  return memory
}

/** The text up to the first NUL. */
export function textUntilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
