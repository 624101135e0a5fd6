import type { Socket } from 'bun'
import { checkRamp, rampBytes } from './ramp.ts'

const CHUNK = 64 * 1024

/** Writes the ramp to a socket up to a limit that may be raised, as fast as the socket takes it. */
export class RampWriter {
  readonly #socket: Socket<unknown>
  /** The position of the next byte to write. */
  position: number

  constructor(socket: Socket<unknown>, position = 0) {
    this.#socket = socket
    this.position = position
  }

  /** Writes up to position `limit` or until the socket is full. True when all is written. */
  writeUpTo(limit: number): boolean {
    while (this.position < limit) {
      const bytes = rampBytes(this.position, Math.min(CHUNK, limit - this.position))
      const written = this.#socket.write(bytes)
      if (written > 0) this.position += written
      if (written < bytes.length) return false
    }
    return true
  }
}

/** Checks what arrives against the ramp. */
export class RampReader {
  /** The position of the next byte to arrive. */
  position: number

  constructor(position = 0) {
    this.position = position
  }

  /** Throws a RampError when `chunk` does not continue the ramp. */
  take(chunk: Uint8Array): void {
    checkRamp(chunk, this.position)
    this.position += chunk.length
  }
}
