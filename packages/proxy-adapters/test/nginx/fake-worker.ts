import { closeFd, LinuxError, tryReceive, trySend } from '@xoffload/linux'
import { libc } from '../../../linux/src/ffi/libc.ts'
import { encodeUnixAddress } from '../../../linux/src/unix/address.ts'
import { afterTest, eventually } from './support.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000

export interface Answer {
  readonly type: number
  readonly id: bigint
  readonly reason: string
}

/** A process that speaks as the module does, or worse. */
export class FakeWorker {
  readonly #fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
  #queue: readonly number[] = []
  #closed = false

  constructor(path: string) {
    afterTest(() => this.close())
    const address = encodeUnixAddress(path)
    if (libc.connect(this.#fd, address, address.length) !== 0) throw new Error(`nobody listens at ${path}`)
  }

  /** Sends 32-bit numbers on the stream. */
  say(...numbers: number[]): void {
    trySend(this.#fd, new Uint8Array(new Uint32Array(numbers).buffer), [])
  }

  /** Introduces itself and waits for the queue. */
  async hello(): Promise<void> {
    this.say(1, 1)
    this.#queue = (await this.#message()).fds
  }

  offer(bytes: Uint8Array, fds: readonly number[]): void {
    trySend(this.#queue[0] ?? -1, bytes, fds)
    this.say(2, 0)
  }

  async answer(): Promise<Answer> {
    const { bytes } = await this.#message()
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const reason = Buffer.from(bytes.subarray(16, 16 + view.getUint32(4, true))).toString()
    return { type: view.getUint32(0, true), id: view.getBigUint64(8, true), reason }
  }

  /** Resolves when the other side has closed the stream. */
  async ended(): Promise<void> {
    await eventually(() => {
      try {
        return tryReceive(this.#fd) === undefined
      } catch (error) {
        // It was closed with something unread.
        if (error instanceof LinuxError && error.errno === 'ECONNRESET') return true
        throw error
      }
    }, 'the end of the stream')
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const fd of this.#queue) closeFd(fd)
    closeFd(this.#fd)
  }

  async #message() {
    for (;;) {
      const message = tryReceive(this.#fd)
      if (message === undefined) throw new Error('the stream has ended')
      if (message !== 'nothing') return message
      await Bun.sleep(1)
    }
  }
}

/** An offer as the module makes it. */
export function encodeOffer(id: bigint, received: string, names: readonly string[] = ['up', 'server', '10.0.0.1:80']) {
  const texts = names.map((name) => Buffer.from(name))
  const header = Buffer.alloc(32)
  header.writeBigUInt64LE(id, 0)
  header.writeUInt32LE(3, 8)
  header.writeUInt32LE(7, 12)
  header.writeUInt32LE(Buffer.byteLength(received), 16)
  for (const [index, text] of texts.entries()) header.writeUInt16LE(text.length, 20 + 2 * index)
  return Buffer.concat([header, ...texts, Buffer.from(received)])
}
