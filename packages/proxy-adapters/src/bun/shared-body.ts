import { MemoryFile, sendMore } from '@xoffload/linux'
import type { Socket } from 'bun'
import { descriptorOf } from './descriptor.ts'

/** Marks the responses of a {@link SharedBody}. A response that is made of another's body does not have it. */
const SHARED = Symbol('shared body')
/** What Bun is given to write when the kernel takes no more: a write of Bun's own that is short makes it watch for room. */
const PROBE_LENGTH = 64 * 1024

export interface SharedBodyOptions {
  /** The content type of responses that name none, default `application/octet-stream`. */
  readonly type?: string
}

/**
 * A body that is sent many times, such as a cached object. `new Response(bytes)` copies the bytes for every response; of this one
 * they are not copied at all: an {@link HttpServer} has the kernel send them from a memory file (sendfile(2)). Its responses are
 * ordinary ones elsewhere, in `Bun.serve` for example.
 *
 * ```ts
 * const logo = new SharedBody(await Bun.file('logo.png').bytes(), { type: 'image/png' })
 * export default () => logo.response()
 * ```
 */
export class SharedBody {
  /** In bytes. */
  readonly length: number
  readonly type: string
  /** Not to be changed. */
  readonly bytes: Uint8Array
  /** The same as a `Blob`. */
  readonly blob: Blob
  readonly #file: MemoryFile

  /** Copies `bytes`, once. Throws a LinuxError when the kernel has no memory or file descriptor for it. */
  constructor(bytes: Uint8Array, { type = 'application/octet-stream' }: SharedBodyOptions = {}) {
    this.bytes = bytes.slice()
    this.length = bytes.length
    this.type = type
    this.blob = new Blob([this.bytes as Uint8Array<ArrayBuffer>], { type })
    this.#file = new MemoryFile(bytes)
  }

  /** A new response with this body. */
  response(init?: ResponseInit): Response {
    const response = new Response(this.blob, init)
    Object.assign(response, { [SHARED]: this })
    return response
  }

  /** The shared body of a response, undefined when it has another body. */
  static of(response: Response): SharedBody | undefined {
    return (response as { [SHARED]?: SharedBody })[SHARED]
  }

  /** Sends a response's head so that it leaves in one packet with the body. Returns how many bytes the kernel took. */
  sendHead(socket: Socket<unknown>, head: Uint8Array): number {
    try {
      return sendMore(descriptorOf(socket), head)
    } catch {
      // The connection is broken: Bun will see that too and close it.
      return 0
    }
  }

  /** Writes the body from `offset` on. Returns how many bytes the kernel took; after less than all, `drain` will follow. */
  writeTo(socket: Socket<unknown>, offset: number): number {
    let position = offset
    try {
      while (position < this.length) {
        position += this.#file.sendTo(descriptorOf(socket), position)
        if (position === this.length) break
        const probe = this.bytes.subarray(position, position + PROBE_LENGTH)
        const written = Math.max(socket.write(probe), 0)
        position += written
        if (written < probe.length) break
      }
    } catch {
      // As above: what was taken counts, and `close` follows.
    }
    return position - offset
  }
}
