import type { Socket } from 'bun'
import { SharedBody } from './shared-body.ts'
import type { StoredBody } from './stored-body.ts'

/** A head with a body that fits leaves in one write. */
const SCRATCH_SIZE = 96 * 1024
/** Every connection writes synchronously out of the same buffer: what the kernel did not take is copied out at once. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE)

/** A shared body of at most this size is joined with its head: a second system call would cost more than the copy. */
const JOINED_SIZE = 16 * 1024

/** Something to send: bytes that nobody changes until they are out, or a body in Bun's or the kernel's memory. */
type Piece = Uint8Array | StoredBody | SharedBody

/**
 * The sending half of a connection. Keeps what the kernel has not taken yet, so its memory is bounded by its callers:
 * they wait until it is no longer {@link blocked} before they send the next part of a body.
 */
export class Output {
  readonly #socket: Socket<unknown>
  #pieces: Piece[] = []
  #offset = 0
  /** The piece that nobody else uses. */
  #own: Uint8Array | undefined
  #closed = false
  #held = false
  #waiter: ((open: boolean) => void) | undefined

  constructor(socket: Socket<unknown>) {
    this.#socket = socket
  }

  /** Whether the kernel has not yet taken all that was written. */
  get blocked(): boolean {
    return this.#pieces.length > 0
  }

  /** Bytes that the kernel has not taken yet. */
  get pending(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, -this.#offset)
  }

  /** From now on nothing is written: what is sent waits. */
  hold(): void {
    this.#held = true
  }

  /** Undoes {@link hold}. */
  release(): void {
    this.#held = false
    this.#flush()
    if (!this.blocked) this.#settle(true)
  }

  /** Sends ASCII or Latin-1 text followed by a body (which nobody changes until it is out) and more text. */
  send(head: string, body?: Piece, tail = ''): void {
    if (this.#closed) return
    if (body instanceof SharedBody) {
      this.#sendShared(head, body)
      return
    }
    const size = body === undefined ? 0 : body.length
    if (
      this.blocked ||
      this.#held ||
      head.length + size + tail.length > SCRATCH_SIZE ||
      (body !== undefined && !(body instanceof Uint8Array))
    ) {
      this.#sendPieces([
        Buffer.from(head, 'latin1'),
        ...(body === undefined ? [] : [body]),
        Buffer.from(tail, 'latin1'),
      ])
      return
    }
    let length = head.length === 0 ? 0 : scratch.write(head, 0, 'latin1')
    if (body !== undefined) {
      scratch.set(body, length)
      length += size
    }
    if (tail.length > 0) length += scratch.write(tail, length, 'latin1')
    const written = this.#socket.write(scratch, 0, length)
    if (written < length) this.#pieces = [Buffer.from(scratch.subarray(Math.max(written, 0), length))]
  }

  /** Sends bytes that nobody uses any more: they are overwritten when they are out, or the connection is gone. Called once at most. */
  sendOwn(bytes: Uint8Array): void {
    this.#own = bytes
    this.#sendPieces([bytes])
  }

  /** Head and body in one write when they are small, else without copying the body. */
  #sendShared(head: string, body: SharedBody): void {
    if (body.length <= JOINED_SIZE) {
      this.send(head, body.bytes)
      return
    }
    if (this.blocked || this.#held || head.length > SCRATCH_SIZE) {
      this.#sendPieces([Buffer.from(head, 'latin1'), body])
      return
    }
    const length = scratch.write(head, 0, 'latin1')
    const sent = body.sendHead(this.#socket, scratch.subarray(0, length))
    if (sent < length) {
      this.#sendPieces([Buffer.from(scratch.subarray(sent, length)), body])
      return
    }
    const written = body.writeTo(this.#socket, 0)
    if (written === body.length) return
    this.#pieces = [body]
    this.#offset = written
  }

  /** Resolves when everything is out and nothing is held (true) or the connection is gone (false). One caller at a time. */
  drained(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false)
    if (!this.blocked && !this.#held) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiter = resolve
    return promise
  }

  /** The socket can take more. */
  onDrain(): void {
    if (!this.blocked || this.#closed) return
    this.#flush()
    if (!this.blocked) this.#settle(true)
  }

  /** The connection is gone: what is left is dropped. */
  close(): void {
    this.#closed = true
    this.#pieces = []
    this.#forgetOwn()
    this.#settle(false)
  }

  #sendPieces(pieces: Piece[]): void {
    const wasBlocked = this.blocked
    for (const piece of pieces) if (piece.length > 0) this.#pieces.push(piece)
    if (!wasBlocked) this.#flush()
  }

  #flush(): void {
    if (this.#held) return
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      while (this.#offset < piece.length) {
        const written = this.#write(piece, this.#offset)
        if (written <= 0) return
        this.#offset += written
      }
      this.#pieces.shift()
      this.#offset = 0
      if (piece === this.#own) this.#forgetOwn()
    }
  }

  #forgetOwn(): void {
    this.#own?.fill(0)
    this.#own = undefined
  }

  #write(piece: Piece, offset: number): number {
    if (piece instanceof Uint8Array) return this.#socket.write(piece, offset, piece.length - offset)
    return piece.writeTo(this.#socket, offset)
  }

  #settle(open: boolean): void {
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.(open)
  }
}
