import type { SuspendedConnection } from './adopted-connection.ts'

/** A connection that stands still. See {@link SuspendedConnection}. */
export type Standing = Pick<SuspendedConnection, 'fd' | 'received' | 'head' | 'response' | 'requests'>

/** What a {@link Suspended} needs of its connection. */
export interface SuspendedOwner {
  /** Goes on. */
  resume(): void
  /** Closes without another word of its own. */
  relinquish(): void
}

const NOTHING = new Uint8Array(0)

/** A connection in the hands of whoever suspended it. */
export class Suspended implements SuspendedConnection {
  readonly fd: number
  readonly head: SuspendedConnection['head']
  readonly response: SuspendedConnection['response']
  readonly requests: number
  onClosed: (() => void) | undefined
  readonly #owner: SuspendedOwner
  #received: Uint8Array
  #over = false
  #closed = false

  constructor(owner: SuspendedOwner, { fd, received, head, response, requests }: Standing) {
    this.#owner = owner
    this.fd = fd
    this.#received = received
    this.head = head
    this.response = response
    this.requests = requests
  }

  get received(): Uint8Array {
    return this.#received
  }

  get closed(): boolean {
    return this.#closed
  }

  resume(): void {
    if (this.#end()) this.#owner.resume()
  }

  close(): void {
    if (this.#end()) this.#owner.relinquish()
  }

  /** The descriptor is gone. */
  lost(): void {
    this.#closed = true
    if (this.#end()) this.onClosed?.()
  }

  /** Whether it was not over before. */
  #end(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#received = NOTHING
    return true
  }
}
