/** The most that is handed to TLS in one write: enough for full records, little enough not to hold up the event loop. */
const maximumWrite = 262_144

/**
 * The bytes that wait to be written, in order. Small frames are joined, so that one TLS record and one system call carries what one
 * turn of the event loop sent; a large frame is never copied. Frames belong to the buffer, and are overwritten when they were written.
 */
export class OutgoingBuffer {
  #frames: Uint8Array[] = []
  /** Bytes of the first frame that are written already. */
  #written = 0
  #length = 0

  /** Bytes that wait. */
  get length(): number {
    return this.#length
  }

  push(frame: Uint8Array): void {
    if (frame.length === 0) return
    this.#frames.push(frame)
    this.#length += frame.length
  }

  /** What to write next, undefined when nothing waits. After a short write it begins with the bytes that were not taken. */
  next(): Uint8Array | undefined {
    const first = this.#frames[0]
    if (first === undefined) return undefined
    if (this.#frames.length > 1 && first.length - this.#written < maximumWrite) this.#join()
    const head = this.#frames[0] ?? first
    return head.subarray(this.#written, this.#written + maximumWrite)
  }

  /** Forgets `count` bytes that were written. */
  consume(count: number): void {
    this.#length -= count
    this.#written += count
    const head = this.#frames[0]
    if (head === undefined || this.#written < head.length) return
    this.#frames.shift()?.fill(0)
    this.#written = 0
  }

  clear(): void {
    for (const frame of this.#frames) frame.fill(0)
    this.#frames = []
    this.#written = 0
    this.#length = 0
  }

  /** Makes one frame of as many leading frames as one write can carry. */
  #join(): void {
    let length = -this.#written
    let count = 0
    for (const frame of this.#frames) {
      if (count > 0 && length + frame.length > maximumWrite) break
      length += frame.length
      count++
    }
    if (count < 2) return
    const joined = new Uint8Array(length)
    let offset = 0
    for (const frame of this.#frames.slice(0, count)) {
      const rest = offset === 0 && this.#written > 0 ? frame.subarray(this.#written) : frame
      joined.set(rest, offset)
      offset += rest.length
      frame.fill(0)
    }
    this.#frames.splice(0, count, joined)
    this.#written = 0
  }
}
