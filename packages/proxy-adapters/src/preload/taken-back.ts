import type { RequestHead } from '../http/index.ts'
import { PreloadError } from './errors.ts'
import type { PreloadSuspended } from './options.ts'

/** What the connection does when whoever has it is done. */
export interface End {
  /** `received` is to be read before all that is in the socket. */
  resume(received: Uint8Array): void
  close(): void
  /** The descriptor is somebody else's. */
  leave(): void
}

/** What a connection that was taken back stands with. */
export type Standing = Pick<PreloadSuspended, 'fd' | 'received' | 'next' | 'head' | 'requests'>

/** A connection in the hands of whoever took it back. */
export class TakenBack implements PreloadSuspended {
  readonly fd: number
  readonly received: Uint8Array
  readonly next: Uint8Array
  readonly head: RequestHead | undefined
  readonly response = undefined
  readonly requests: number
  onClosed: (() => void) | undefined
  readonly #end: End
  #over = false
  #closed = false

  constructor(standing: Standing, end: End) {
    this.fd = standing.fd
    this.received = standing.received
    this.next = standing.next
    this.head = standing.head
    this.requests = standing.requests
    this.#end = end
  }

  get closed(): boolean {
    return this.#closed
  }

  resume(): void {
    if (this.#over) return
    const received = this.received.slice()
    this.#finish()
    this.#end.resume(received)
  }

  close(): void {
    if (this.#over) return
    this.#finish()
    this.#closed = true
    this.#end.close()
  }

  take(): number {
    if (this.#over) throw new PreloadError('closed', 'the connection was resumed or closed before')
    this.#finish()
    this.#closed = true
    this.#end.leave()
    return this.fd
  }

  /** What the client said is not kept. */
  #finish(): void {
    this.#over = true
    this.next.fill(0)
    this.received.fill(0)
  }

  /** The server is closed. */
  lose(): void {
    if (this.#over) return
    this.close()
    this.onClosed?.()
  }
}
