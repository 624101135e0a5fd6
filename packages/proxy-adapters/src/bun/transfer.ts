import type { InterruptedResponse } from './interrupted-response.ts'
import type { Output } from './output.ts'
import type { StreamFraming } from './stream-sender.ts'

export interface TransferOptions {
  readonly framing: StreamFraming
  readonly keepAlive: boolean
  /** That of a resumable response. */
  readonly state: Uint8Array | undefined
  /** Where in the body this server begins, default 0. */
  readonly offset?: number
  /** Called whenever more of it has been given to the output. */
  readonly onProgress: () => void
}

/** A response body that takes more than one write: how far it is. */
export class Transfer {
  readonly framing: StreamFraming
  readonly keepAlive: boolean
  readonly #state: Uint8Array | undefined
  readonly #start: number
  readonly #onProgress: () => void
  #queued: number
  #complete = false

  constructor({ framing, keepAlive, state, offset = 0, onProgress }: TransferOptions) {
    this.framing = framing
    this.keepAlive = keepAlive
    this.#state = state
    this.#start = offset
    this.#queued = offset
    this.#onProgress = onProgress
  }

  /** Bytes of the body that have been given to the output, those that other servers sent included. */
  get queued(): number {
    return this.#queued
  }

  /** The response's head (with 0) or `length` bytes of its body have been given to the output. */
  advance(length: number): void {
    this.#queued += length
    this.#onProgress()
  }

  /** The body and what marks its end have been given to the output: nothing is left to be sent elsewhere. */
  complete(): void {
    this.#complete = true
  }

  /** What another server would have to send if nothing more were written here; `undefined` when it could not. */
  interrupt(output: Output): InterruptedResponse | undefined {
    const { framing, keepAlive } = this
    if (this.#state === undefined || this.#complete) return undefined
    const offset = this.#queued - output.pending
    // What the kernel has not taken is sent elsewhere again, if it is content only: no head, no part of a chunk.
    if (framing.kind === 'chunked' ? output.blocked : offset < this.#start) return undefined
    if (framing.kind === 'length' && offset >= framing.contentLength) return undefined
    return { state: this.#state, offset, framing, keepAlive }
  }
}
