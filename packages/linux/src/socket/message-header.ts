import { NativeMemory } from '../ffi/memory.ts'

// struct msghdr, struct iovec and struct cmsghdr of a 64-bit machine (recvmsg(2), cmsg(3)).
const MSGHDR = { length: 56, iov: 16, iovLength: 24, control: 32, controlLength: 40, flags: 48 } as const
const IOVEC_LENGTH = 16
/** The length of a `struct cmsghdr`: what a control message carries begins behind it. */
export const CMSG_HEADER = 16

/** A `struct msghdr` with memory for one message and its control data, to be used again and again. */
export class MessageHeader {
  readonly data: NativeMemory
  readonly control: NativeMemory
  readonly #iovec = new NativeMemory(IOVEC_LENGTH)
  readonly #header = new NativeMemory(MSGHDR.length)

  constructor(dataLength: number, controlLength: number) {
    this.data = new NativeMemory(dataLength)
    this.control = new NativeMemory(controlLength)
    this.#iovec.setPointer(0, this.data)
    this.#header.setPointer(MSGHDR.iov, this.#iovec)
    this.#header.view.setBigUint64(MSGHDR.iovLength, 1n, true)
    this.#header.setPointer(MSGHDR.control, this.control)
  }

  get controlLength(): number {
    return Number(this.#header.view.getBigUint64(MSGHDR.controlLength, true))
  }

  get flags(): number {
    return this.#header.view.getInt32(MSGHDR.flags, true)
  }

  /** The structure, for a message of these lengths. */
  prepare(dataLength: number, controlLength: number): Uint8Array {
    this.#iovec.view.setBigUint64(8, BigInt(dataLength), true)
    this.#header.view.setBigUint64(MSGHDR.controlLength, BigInt(controlLength), true)
    return this.#header.bytes
  }
}
