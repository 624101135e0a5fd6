const INITIAL_CAPACITY = 256

/** Bytes that are added at one end and taken away at the other. */
export class ByteQueue {
  #bytes = new Uint8Array(INITIAL_CAPACITY)
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  push(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#bytes.length) this.#makeRoom(bytes.length)
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** Takes away the first `length` bytes. */
  drop(length: number): void {
    this.#start += length
  }

  /** A copy of the bytes from `from` up to, and not including, `to`, counted from the first; of fewer when there are fewer. */
  copy(from = 0, to = this.length): Uint8Array {
    return this.#bytes.slice(this.#start + from, this.#start + Math.min(to, this.length))
  }

  #makeRoom(length: number): void {
    const used = this.#bytes.subarray(this.#start, this.#end)
    const bytes = used.length + length <= this.#bytes.length ? this.#bytes : new Uint8Array(2 * (used.length + length))
    if (bytes === this.#bytes) bytes.copyWithin(0, this.#start, this.#end)
    else bytes.set(used)
    this.#end = used.length
    this.#start = 0
    this.#bytes = bytes
  }
}
