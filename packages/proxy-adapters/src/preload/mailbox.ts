import { closeFd, tryReceive, trySend, unixPair } from '@xoffload/linux'
import { connectionIn, encodeItem, type MailboxItem } from './protocol.ts'

/** Connections on their way into the server program. All its processes read from the same socket, so that each item is taken once. */
export class Mailbox implements Disposable {
  /** What the processes read from. */
  readonly reader: number
  readonly #writer: number
  #closed = false

  /** Throws a LinuxError (`EMFILE`). */
  constructor() {
    const [writer, reader] = unixPair()
    this.#writer = writer
    this.reader = reader
  }

  /** Puts an item in. The descriptor stays open here. False when there is no room now. Throws a LinuxError (`EBADF`). */
  post(item: MailboxItem, fd: number): boolean {
    return trySend(this.#writer, encodeItem(item), [fd])
  }

  /**
   * Takes an item out again, and returns its descriptor, which is the caller's to close. Undefined when a process of the server program has
   * it. The others stay, in another order.
   */
  withdraw(connection: bigint): number | undefined {
    const others: { bytes: Uint8Array; fds: readonly number[] }[] = []
    let found: number | undefined
    for (;;) {
      const message = tryReceive(this.reader)
      if (message === undefined || message === 'nothing') break
      if (connectionIn(message.bytes) !== connection) others.push(message)
      else found = message.fds[0]
    }
    for (const { bytes, fds } of others) {
      // There is room: they were in it.
      trySend(this.#writer, bytes, fds)
      fds.forEach(closeFd)
    }
    return found
  }

  /** What nobody has taken is closed with it. Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeFd(this.#writer)
    closeFd(this.reader)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
