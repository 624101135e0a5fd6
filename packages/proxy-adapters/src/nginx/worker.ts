import { closeFd, type PeerCredentials, peerCredentials, tryReceive, trySend, unixPair } from '@xoffload/linux'
import type { Socket } from 'bun'
import { descriptorOf } from '../bun/descriptor.ts'
import { NginxError } from './errors.ts'
import { decodeOffer, encodeAnswer, type Offer, PROTOCOL_VERSION, WordDecoder } from './protocol.ts'

/** How long an answer waits for another attempt when the worker does not read, milliseconds. */
const RETRY = 20

/** A connection that a worker gives. */
export interface OfferedConnection {
  readonly offer: Offer
  /** The receiver's to close. Undefined when this process may not open more files. */
  readonly fd: number | undefined
}

/** One worker process of nginx. */
export class NginxWorker {
  readonly peer: PeerCredentials
  /** Connections that are not answered. The stream stays open as long as there are any: its end tells nginx that this process is dead. */
  inFlight = 0
  readonly #socket: Socket<unknown>
  readonly #fd: number
  readonly #decoder = new WordDecoder()
  /** Answers that there was no room for; no more than there are offers. */
  readonly #unsent: Uint8Array[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  /** The end of the queue that offers are read from. */
  #queue: number | undefined
  #open = true
  #finishing = false

  /** Throws a LinuxError. */
  constructor(socket: Socket<unknown>) {
    this.#socket = socket
    this.#fd = descriptorOf(socket)
    this.peer = peerCredentials(this.#fd)
  }

  get open(): boolean {
    return this.#open
  }

  /** Whether it has introduced itself. */
  get welcomed(): boolean {
    return this.#queue !== undefined
  }

  /** What has come with these bytes. Throws {@link NginxError} (`protocol`) and LinuxError. */
  *receive(bytes: Uint8Array): Generator<OfferedConnection> {
    for (const word of this.#decoder.decode(bytes)) if (word.type === 'hello') this.#welcome(word.value)
    while (this.#open && this.#queue !== undefined) {
      const message = tryReceive(this.#queue)
      if (message === undefined || message === 'nothing') return
      const [fd, ...others] = message.fds
      others.forEach(closeFd)
      if (fd === undefined && !message.descriptorsLost)
        throw new NginxError('protocol', 'a worker of nginx made an offer without a connection')
      yield { offer: offerOf(message.bytes, fd), fd }
    }
  }

  /** Answers one of the connections that are in flight. */
  answer(type: 'handed-off' | 'refused' | 'failed' | 'lost', id: bigint, reason?: string): void {
    this.inFlight--
    if (!this.#open) return
    this.#unsent.push(encodeAnswer(type, id, reason))
    this.#flush()
  }

  /** Closes the stream when all connections are answered, now if there are none. */
  finish(): void {
    this.#finishing = true
    if (this.inFlight === 0 && this.#unsent.length === 0) this.close()
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    clearTimeout(this.#timer)
    this.#socket.terminate()
    if (this.#queue !== undefined) closeFd(this.#queue)
  }

  #welcome(version: number): void {
    if (version !== PROTOCOL_VERSION || this.#queue !== undefined) {
      throw new NginxError(
        'protocol',
        `a module of version ${version} said hello: build and load the one of this version`,
      )
    }
    const [writer, reader] = unixPair()
    this.#queue = reader
    try {
      trySend(this.#fd, encodeAnswer('welcome', BigInt(PROTOCOL_VERSION)), [writer, reader])
    } finally {
      closeFd(writer)
    }
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    while (this.#open && this.#unsent[0] !== undefined) {
      if (!this.#try(this.#unsent[0])) {
        this.#timer = setTimeout(() => this.#flush(), RETRY)
        return
      }
      this.#unsent.shift()
    }
    if (this.#finishing) this.finish()
  }

  #try(bytes: Uint8Array): boolean {
    try {
      return trySend(this.#fd, bytes, [])
    } catch {
      // The worker is gone, and its socket says so next: its answers are of no use.
      return true
    }
  }
}

function offerOf(bytes: Uint8Array, fd: number | undefined): Offer {
  try {
    return decodeOffer(bytes)
  } catch (error) {
    if (fd !== undefined) closeFd(fd)
    throw error
  }
}
