import type { Socket } from 'bun'

/** Stops and resumes reading from a socket. Asking for what already is costs no system call. */
export class ReadGate {
  readonly #socket: Socket<unknown>
  #paused = false

  constructor(socket: Socket<unknown>) {
    this.#socket = socket
  }

  get paused(): boolean {
    return this.#paused
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#socket.resume()
  }
}
