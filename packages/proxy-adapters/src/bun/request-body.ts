/** What a {@link RequestBody} asks of its connection. */
export interface RequestBodySource {
  /** The reader wants more. Called for every read that finds nothing. */
  pull(): void
  /** The reader wants nothing more. */
  cancel(): void
}

/**
 * The receiving end of a streamed request body. It takes what the connection reads; {@link full} says when the connection must
 * stop reading until `pull`.
 */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array>
  readonly #queueSize: number
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #open = true
  #wanted = false

  /** @param queueSize bytes that wait for the reader before the body is full. */
  constructor(source: RequestBodySource, queueSize: number) {
    this.#queueSize = queueSize
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => {
          this.#wanted = true
          source.pull()
        },
        cancel: () => {
          this.#open = false
          source.cancel()
        },
      },
      // With a high-water mark of 0, `pull` means that somebody waits, and `desiredSize` counts what waits for a reader.
      { highWaterMark: 0, size: (chunk) => chunk?.byteLength ?? 0 },
    )
  }

  /** Whether content can still be delivered: neither complete, nor failed, nor cancelled by its reader. */
  get open(): boolean {
    return this.#open
  }

  /** Whether anybody has begun to read. */
  get wanted(): boolean {
    return this.#wanted
  }

  /** Whether so much waits for the reader that the connection must stop reading. */
  get full(): boolean {
    return this.#open && (this.#controller.desiredSize ?? 0) <= -this.#queueSize
  }

  enqueue(bytes: Uint8Array): void {
    if (this.#open) this.#controller.enqueue(bytes)
  }

  /** The body is complete. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#controller.close()
  }

  /** The body will never be complete. */
  fail(error: Error): void {
    if (!this.#open) return
    this.#open = false
    this.#controller.error(error)
  }
}
