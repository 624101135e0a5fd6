import type { Socket } from 'bun'

/** One response head with a body up to this size leaves in one write; the rest of a larger body is not copied. */
const SCRATCH_SIZE = Number(process.env['SCR'] ?? 80) * 1024
/** Every connection writes synchronously out of the same buffer: what the kernel did not take is copied out at once. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE)

/**
 * The sending half of a connection. Keeps what the kernel has not taken yet, so its memory is bounded by its callers:
 * they wait until it is no longer {@link blocked} before they send the next part of a body.
 */
export class Output {
  readonly #socket: Socket<unknown>
  #pieces: Uint8Array[] = []
  #offset = 0
  #closed = false
  #waiter: ((open: boolean) => void) | undefined

  constructor(socket: Socket<unknown>) {
    this.#socket = socket
  }

  /** Whether the kernel has not yet taken all that was written. */
  get blocked(): boolean {
    return this.#pieces.length > 0
  }

  /** Sends ASCII or Latin-1 text followed by bytes (which the caller does not change until they are out) and more text. */
  send(head: string, body?: Uint8Array, tail = ''): void {
    if (this.#closed) return
    if (this.blocked || head.length + tail.length > SCRATCH_SIZE) {
      const pieces = [Buffer.from(head, 'latin1'), body ?? new Uint8Array(0), Buffer.from(tail, 'latin1')]
      if (this.blocked) this.#pieces.push(...pieces)
      else this.#sendPieces(pieces)
      return
    }
    let length = head.length === 0 ? 0 : scratch.write(head, 0, 'latin1')
    if (body === undefined) return this.#sendScratch(length)
    const room = SCRATCH_SIZE - length - tail.length
    if (body.length <= room) {
      scratch.set(body, length)
      length += body.length
      if (tail.length > 0) length += scratch.write(tail, length, 'latin1')
      return this.#sendScratch(length)
    }
    // The head travels with the beginning of the body: no small segment of its own.
    scratch.set(body.subarray(0, room), length)
    const written = this.#socket.write(scratch, 0, length + room)
    const rest = tail.length > 0 ? [body, Buffer.from(tail, 'latin1')] : [body]
    if (written >= length) return this.#sendPieces(rest, written - length)
    this.#keep([scratch.subarray(Math.max(written, 0), length).slice(), ...rest], 0)
  }

  /** Resolves when everything is out (true) or the connection is gone (false). One caller at a time. */
  drained(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false)
    if (!this.blocked) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiter = resolve
    return promise
  }

  /** The socket can take more. */
  onDrain(): void {
    if (!this.blocked || this.#closed) return
    const pieces = this.#pieces
    this.#pieces = []
    this.#sendPieces(pieces, this.#offset)
    if (!this.blocked) this.#settle(true)
  }

  /** The connection is gone: what is left is dropped. */
  close(): void {
    this.#closed = true
    this.#pieces = []
    this.#settle(false)
  }

  #sendScratch(length: number): void {
    const written = this.#socket.write(scratch, 0, length)
    if (written < length) this.#keep([scratch.subarray(Math.max(written, 0), length).slice()], 0)
  }

  /** Sends `pieces` without their first `offset` bytes. */
  #sendPieces(pieces: Uint8Array[], offset = 0): void {
    let start = offset
    for (let index = 0; index < pieces.length; index++) {
      const piece = pieces[index] as Uint8Array
      while (start < piece.length) {
        const written = this.#socket.write(piece, start, piece.length - start)
        if (written <= 0) return this.#keep(pieces.slice(index), start)
        start += written
      }
      start -= piece.length
    }
  }

  #keep(pieces: Uint8Array[], offset: number): void {
    this.#pieces = pieces
    this.#offset = offset
  }

  #settle(open: boolean): void {
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.(open)
  }
}
