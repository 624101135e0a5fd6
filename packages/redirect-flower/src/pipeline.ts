import { RedirectorError } from '@xoffload/core'
import {
  decodeAcknowledgement,
  type ErrnoName,
  netlinkMessages,
  requestLength,
  type TcRequest,
  writeRequest,
} from '@xoffload/linux'
import type { Exchange, FlowerConnection } from './kernel.ts'

/** What the kernel answered to one request. */
export interface Answer {
  /** Undefined when the request was carried out. */
  readonly errno: ErrnoName | undefined
  /** The kernel's or the driver's own words. */
  readonly text: string | undefined
  /** The bodies of the messages that came before the acknowledgement. */
  readonly replies: readonly Uint8Array[]
}

export interface PipelineOptions {
  readonly connection: Pick<FlowerConnection, 'exchange'>
  /** How many requests the kernel gets at a time, 1 or more. */
  readonly requestsPerExchange: number
  /** How many exchanges may be under way: with two, the thread has work while answers are read. */
  readonly exchanges: number
  /** How many requests may wait to be sent. */
  readonly maximumWaiting: number
  /**
   * Finds out what became of requests whose answers were lost, in their order: `undefined` for one of which nothing can be said.
   * Nothing is sent meanwhile. When it rejects, nothing can be said of any of them.
   */
  readonly reconcile: (lost: readonly TcRequest[]) => Promise<readonly (Answer | undefined)[]>
}

interface Pending {
  readonly request: TcRequest
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
  readonly replies: Uint8Array[]
  /** An abort has no effect from now on. */
  forgetSignal: () => void
}

/** A datagram has 64 KiB at most: far less than a socket's send buffer. */
const MAXIMUM_DATAGRAM = 64 * 1024

/**
 * Sends requests to the kernel, many in a datagram and in the order in which they were given, and finds the answer of each by its
 * sequence number, in whatever order they come. Answers that were lost are looked up.
 */
export class RequestPipeline {
  readonly #options: PipelineOptions
  readonly #waiting: Pending[] = []
  readonly #sent = new Map<number, Pending>()
  readonly #idle: (() => void)[] = []
  #sequence = 0
  #exchanges = 0
  #mending = false
  #scheduled = false
  /** How often answers were lost. */
  losses = 0

  constructor(options: PipelineOptions) {
    this.#options = options
  }

  /** The requests that were not answered yet. */
  get pending(): number {
    return this.#waiting.length + this.#sent.size
  }

  /**
   * Rejects with {@link RedirectorError} `busy` when too many requests wait, or when nothing can be said of this one; with the
   * signal's reason when it is aborted before it was sent (later an abort has no effect); with the error of the system call when
   * the kernel did not get it.
   */
  request(request: TcRequest, signal?: AbortSignal): Promise<Answer> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (this.#waiting.length >= this.#options.maximumWaiting) {
      const message = `${this.#waiting.length} requests wait for the kernel already: try again later`
      return Promise.reject(new RedirectorError('busy', message))
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const pending: Pending = { request, resolve, reject, replies: [], forgetSignal: () => undefined }
    this.#waiting.push(pending)
    if (signal !== undefined) withdrawOnAbort(pending, this.#waiting, signal)
    this.#schedule()
    return promise
  }

  /** Rejects what was not sent yet with `error`. Resolves when what was sent is answered. */
  async withdraw(error: Error): Promise<void> {
    for (const { reject, forgetSignal } of this.#waiting.splice(0)) {
      forgetSignal()
      reject(error)
    }
    if (this.#exchanges === 0 && !this.#mending) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** After what runs now, so that requests that are made together go together. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  #send(): void {
    const { exchanges } = this.#options
    while (!this.#mending && this.#exchanges < exchanges && this.#waiting.length > 0) void this.#exchange()
  }

  async #exchange(): Promise<void> {
    const batch = this.#takeBatch()
    const sequences = batch.map((pending) => this.#number(pending))
    const messages = encodeBatch(batch, sequences)
    this.#exchanges += 1
    try {
      this.#match(await this.#options.connection.exchange(messages))
      if (sequences.some((sequence) => this.#sent.has(sequence))) this.#mending = true
    } catch (error) {
      // None of them was carried out.
      for (const sequence of sequences) this.#take(sequence)?.reject(error)
    } finally {
      this.#exchanges -= 1
    }
    if (this.#mending && this.#exchanges === 0) await this.#mend()
    this.#send()
    if (this.#exchanges === 0 && !this.#mending) for (const done of this.#idle.splice(0)) done()
  }

  #takeBatch(): Pending[] {
    let length = 0
    let count = 0
    for (const { request } of this.#waiting.slice(0, this.#options.requestsPerExchange)) {
      length += requestLength(request)
      if (count > 0 && length > MAXIMUM_DATAGRAM) break
      count += 1
    }
    const batch = this.#waiting.splice(0, count)
    for (const { forgetSignal } of batch) forgetSignal()
    return batch
  }

  #number(pending: Pending): number {
    // 0 is what the kernel uses for messages that answer nothing.
    this.#sequence = this.#sequence === 0xffffffff ? 1 : this.#sequence + 1
    this.#sent.set(this.#sequence, pending)
    return this.#sequence
  }

  #take(sequence: number): Pending | undefined {
    const pending = this.#sent.get(sequence)
    this.#sent.delete(sequence)
    return pending
  }

  #match({ datagrams }: Exchange): void {
    for (const datagram of datagrams) {
      for (const message of netlinkMessages(datagram)) {
        const acknowledgement = decodeAcknowledgement(message)
        if (acknowledgement === undefined) {
          this.#sent.get(message.sequence)?.replies.push(message.body)
          continue
        }
        const pending = this.#take(acknowledgement.sequence)
        const { errno, text } = acknowledgement
        pending?.resolve({ errno, text, replies: pending.replies })
      }
    }
  }

  /** Every exchange has ended, so what is not answered now never will be. */
  async #mend(): Promise<void> {
    const lost = [...this.#sent.values()]
    this.#sent.clear()
    if (lost.length > 0) await this.#lookUp(lost)
    this.#mending = false
  }

  async #lookUp(lost: readonly Pending[]): Promise<void> {
    this.losses += 1
    let answers: readonly (Answer | undefined)[] = []
    let cause: unknown
    try {
      answers = await this.#options.reconcile(lost.map(({ request }) => request))
    } catch (error) {
      cause = error
    }
    for (const [index, { resolve, reject }] of lost.entries()) {
      const answer = answers[index]
      const message = 'the answer of the kernel was lost, and what became of the request cannot be told: try again'
      if (answer === undefined) reject(new RedirectorError('busy', message, { cause }))
      else resolve(answer)
    }
  }
}

function withdrawOnAbort(pending: Pending, waiting: Pending[], signal: AbortSignal): void {
  const withdraw = () => {
    waiting.splice(waiting.indexOf(pending), 1)
    pending.reject(signal.reason)
  }
  signal.addEventListener('abort', withdraw, { once: true })
  pending.forgetSignal = () => signal.removeEventListener('abort', withdraw)
}

function encodeBatch(batch: readonly Pending[], sequences: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(batch.reduce((length, { request }) => length + requestLength(request), 0))
  let offset = 0
  for (const [index, { request }] of batch.entries()) {
    offset = writeRequest(bytes, offset, request, sequences[index] as number, true)
  }
  return bytes
}
