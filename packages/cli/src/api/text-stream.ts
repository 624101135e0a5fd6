/** What a streamed answer says. */
export interface TextSource {
  /** The next part, undefined at the end. */
  next(): Promise<string | undefined>
  /** Nobody reads any more. `next` may be waiting. */
  stop(): Promise<void> | void
}

/** How long a reader is waited for, and who is told of the end. */
export interface TextStreamOptions {
  /** How long the reader may leave unread what was said, milliseconds; then the connection is cut. */
  readonly patience: number
  /** Called once, when the stream is over: with what went wrong, or with nothing when it was read to its end or its reader went away. */
  readonly finished: (error?: unknown) => void
}

/** A body that is made as fast as it is read. */
export function textStream(source: TextSource, { patience, finished }: TextStreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let timer: ReturnType<typeof setTimeout> | undefined
  let isOver = false
  const over = (error?: unknown) => {
    clearTimeout(timer)
    if (!isOver) finished(error)
    isOver = true
  }
  // Without a reason: Bun would write it to standard error. The reader sees that the body is not complete.
  const cut = (controller: ReadableStreamDefaultController<Uint8Array>, error?: unknown) => {
    controller.error()
    over(error)
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(timer)
        try {
          const text = await source.next()
          if (isOver) return
          if (text === undefined) {
            controller.close()
            over()
            return
          }
          controller.enqueue(encoder.encode(text))
          timer = setTimeout(async () => {
            cut(controller)
            await source.stop()
          }, patience)
        } catch (error) {
          cut(controller, error)
        }
      },
      async cancel() {
        over()
        await source.stop()
      },
    },
    // Nothing is made before it is asked for.
    { highWaterMark: 0 },
  )
}
