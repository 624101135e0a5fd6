import { RequestError } from './problem.ts'
import { type TextSource, textStream } from './text-stream.ts'

/** Lists and event streams that may be read at once. */
const MAXIMUM = 64

/** Milliseconds after which a reader that does not read is cut off. */
const PATIENCE = 30_000

/** The answers that go on for long. Each holds a connection and a buffer, so only so many at a time are given. */
export class Streams {
  readonly #onError: (error: unknown) => void
  #open = 0

  /** `onError` takes what ends a stream before its end. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** The body of an answer. Throws {@link RequestError} when there are too many. */
  open(source: () => TextSource): ReadableStream<Uint8Array> {
    if (this.#open >= MAXIMUM) {
      throw new RequestError(503, 'too-many-streams', `${MAXIMUM} lists and event streams are being read: try later`)
    }
    const body = textStream(source(), {
      patience: PATIENCE,
      finished: (error) => {
        this.#open--
        if (error !== undefined) this.#onError(error)
      },
    })
    this.#open++
    return body
  }
}
