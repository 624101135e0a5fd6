import { EAGAIN } from '../errno.ts'
import { check, lastErrno, libc } from '../ffi/libc.ts'
import { cString } from '../ffi/memory.ts'
import { MSG_DONTWAIT, MSG_NOSIGNAL } from './constants.ts'

const MFD_CLOEXEC = 1
const MSG_MORE = 0x8000

/** `off_t` as two words, so that no BigInt is made for a call. */
const offsetWords = new Uint32Array(2)
const closing = new FinalizationRegistry((fd: number) => libc.close(fd))

/**
 * Bytes in a file that exists only in memory (memfd_create(2)), for sending them many times: sendfile(2) gives the kernel's own pages
 * to the socket, so that the bytes are not copied. Its memory is freed with the object.
 */
export class MemoryFile {
  readonly length: number
  readonly #fd: number

  /** Copies `bytes`. Throws {@link LinuxError} (`EMFILE`, `ENOMEM`). */
  constructor(bytes: Uint8Array) {
    this.length = bytes.length
    this.#fd = check('memfd_create', libc.memfd_create(cString('xoffload').bytes, MFD_CLOEXEC))
    closing.register(this, this.#fd)
    for (let offset = 0; offset < bytes.length; ) {
      const rest = bytes.subarray(offset)
      offset += check('write(memfd)', Number(libc.write(this.#fd, rest, rest.length)))
    }
  }

  /**
   * Sends the bytes from `offset` on as far as the non-blocking socket takes them (sendfile(2)). Returns their number, 0 when there is
   * no room now. Throws {@link LinuxError} (`EPIPE`, `ECONNRESET`).
   */
  sendTo(socket: number, offset: number): number {
    offsetWords[0] = offset
    offsetWords[1] = offset / 2 ** 32
    const sent = Number(libc.sendfile(socket, this.#fd, offsetWords, this.length - offset))
    if (sent < 0 && lastErrno() === EAGAIN) return 0
    return check('sendfile', sent)
  }
}

/**
 * Sends bytes as the beginning of more (send(2), MSG_MORE): the kernel waits for what follows instead of sending a short packet.
 * Returns how many it took, 0 when there is no room now. Throws {@link LinuxError} (`EPIPE`, `ECONNRESET`).
 */
export function sendMore(socket: number, bytes: Uint8Array): number {
  const sent = Number(libc.send(socket, bytes, bytes.length, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL))
  if (sent < 0 && lastErrno() === EAGAIN) return 0
  return check('send(MSG_MORE)', sent)
}
