import type { Endpoint } from '@xoffload/core'
import { connectForData, LinuxError, read, resetAndClose, write } from '@xoffload/linux'

const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const

/** A connection to the server program's listener that tells the shim behind it to look into the mailbox. */
export class Knock {
  readonly #fd: number
  readonly #bytes: Uint8Array
  readonly #answer = new Uint8Array(64)
  #sent = 0
  #over = false
  /** The listener's program has answered it: there is no shim in the process that accepted it. */
  answered = false
  /** Nobody listens. */
  refused = false

  /**
   * Throws a LinuxError (`EMFILE`, `ENETUNREACH`). That nobody listens is told by {@link refused}.
   * @param bytes go with the last packet of the handshake.
   */
  constructor(listener: Endpoint, bytes: Uint8Array) {
    this.#bytes = bytes
    this.#fd = connect(listener)
    this.#send()
  }

  /** Whether somebody has accepted and closed it, or it came to nothing. */
  get over(): boolean {
    if (!this.#over) this.#look()
    return this.#over
  }

  /** With an RST: it leaves no TIME_WAIT. Safe to call once. */
  close(): void {
    resetAndClose(this.#fd)
  }

  #look(): void {
    this.#send()
    if (this.#over) return
    try {
      const length = read(this.#fd, this.#answer)
      if (length === undefined) return
      this.#over = true
      this.answered = length > 0
    } catch {
      // Reset: that is how a shim closes it.
      this.#over = true
    }
  }

  #send(): void {
    if (this.#sent === this.#bytes.length) return
    try {
      this.#sent += write(this.#fd, this.#bytes.subarray(this.#sent))
    } catch (error) {
      this.#over = true
      this.refused = error instanceof LinuxError && error.errno === 'ECONNREFUSED'
    }
  }
}

function connect({ address, port }: Endpoint): number {
  const family = address.includes(':') ? 6 : 4
  const wildcard = address === '0.0.0.0' || address === '::'
  return connectForData(LOOPBACK[family], { address: wildcard ? LOOPBACK[family] : address, port })
}
