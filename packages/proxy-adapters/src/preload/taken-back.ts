import type { RequestHead } from '../http/index.ts'
import { PreloadError } from './errors.ts'
import type { PreloadSuspended } from './options.ts'

const NOTHING = new Uint8Array(0)

/** What the connection does when whoever has it is done. */
export interface End {
  resume(): void
  close(): void
  /** The descriptor is somebody else's. */
  leave(): void
}

/** A connection in the hands of whoever took it back. */
export class TakenBack implements PreloadSuspended {
  readonly fd: number
  readonly received = NOTHING
  readonly next: Uint8Array
  readonly head: RequestHead | undefined
  readonly response = undefined
  readonly requests: number
  onClosed: (() => void) | undefined
  readonly #end: End
  #over = false
  #closed = false

  constructor(standing: Pick<PreloadSuspended, 'fd' | 'next' | 'head' | 'requests'>, end: End) {
    this.fd = standing.fd
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
    this.#finish()
    this.#end.resume()
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
  }

  /** The server is closed. */
  lose(): void {
    if (this.#over) return
    this.close()
    this.onClosed?.()
  }
}
