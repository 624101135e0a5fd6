import { estimateShallowMemoryUsageOf } from 'bun:jsc'
import type { Socket } from 'bun'

/**
 * A response body in Bun's memory, sent by giving `socket.write` the `Response` itself. The bytes never become an `ArrayBuffer`:
 * that would be counted a second time by the garbage collector, which then runs twice as often, and be freed late.
 * `socket.write` uses a response up, so every write gets a clone; clones share the bytes.
 */
export class StoredBody {
  readonly length: number
  readonly #response: Response
  readonly #socket: Socket<unknown>

  private constructor(response: Response, length: number, socket: Socket<unknown>) {
    this.#response = response
    this.length = length
    this.#socket = socket
  }

  /**
   * @param size what the body's size is unless it is a string that grows or shrinks in UTF-8.
   * @returns `undefined` when the size is another: the response is unchanged then.
   */
  static of(response: Response, size: number, socket: Socket<unknown>): StoredBody | undefined {
    const body = new StoredBody(response, size, socket)
    return body.#reaches(size) && !body.#reaches(size + 1) ? body : undefined
  }

  /**
   * Whether the body is a string: the clone of an ASCII string counts the same memory, that of bytes shares them and counts none.
   * (A string that happens to be as long in UTF-8 as in UTF-16 is taken for bytes.)
   */
  get isText(): boolean {
    return estimateShallowMemoryUsageOf(this.#response.clone()) === estimateShallowMemoryUsageOf(this.#response)
  }

  /** Writes the body from `offset` on; returns how many bytes the kernel took, negative when the connection is closed. */
  writeTo(socket: Socket<unknown>, offset: number): number {
    return socket.write(this.#response.clone() as unknown as Uint8Array, offset, this.length - offset)
  }

  /** Frees the memory now. */
  release(): void {
    if (!this.#response.bodyUsed) this.#socket.write(this.#response as unknown as Uint8Array, 0, 0)
  }

  /** Whether the body has at least `size` bytes: an offset behind the end is refused. */
  #reaches(size: number): boolean {
    try {
      return this.#socket.write(this.#response.clone() as unknown as Uint8Array, size, 0) === 0
    } catch {
      return false
    }
  }
}
