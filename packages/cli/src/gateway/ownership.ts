import { XoffloadError } from '@xoffload/core'
import { peerCredentials } from '@xoffload/linux'
import type { Socket, UnixSocketListener } from 'bun'
import { LineReader } from '../runtime/line-reader.ts'
import { errorText } from '../runtime/log.ts'

/** How long a new process may wait for each word of the old one, and the old one for each of the new one, in milliseconds. */
const ANSWER_TIMEOUT = 15_000
/** How long a new process may have the device without listening, in milliseconds. */
const SUCCESSOR_TIMEOUT = 15_000
/** How often the name is tried for that the old process is about to give up, and how long in all, in milliseconds. */
const RETRY_INTERVAL = 5
const RETRY_TIMEOUT = 5000

/** What the process that owns a device does when another one takes over. */
export interface Owner {
  /** Gives the device and the control channels up; the rules stay in force. Rejects when it cannot: then it goes on. */
  release(): Promise<void>
  /** The other process has failed: goes on as before. */
  resume(): Promise<void>
  /** The other process listens: accepts no connection any more, and ends when those that are left have ended. */
  retire(): Promise<void>
  /** Starts the process that takes over. Resolves with its process id when it has. */
  upgrade(): Promise<number>
}

type Word = 'take-over' | 'released' | 'listening' | 'retired' | 'upgrade' | 'upgraded' | 'failed'

interface Message {
  readonly word: Word
  readonly text?: string
  readonly pid?: number
}

/**
 * One gateway process at a time owns a device: it listens on a Unix socket whose name, in the abstract namespace of its network namespace
 * (unix(7)), nobody else can have, and there another process of the same user can take over.
 */
export class Ownership {
  readonly #listener: UnixSocketListener<Conversation>

  private constructor(listener: UnixSocketListener<Conversation>) {
    this.#listener = listener
  }

  /** Claims the device. Throws {@link XoffloadError} `RUNNING` when another process has it. */
  static claim(device: string, owner: Owner): Ownership {
    try {
      const listener = Bun.listen<Conversation>({
        unix: nameOf(device),
        socket: {
          open(socket) {
            socket.data = new Conversation(socket, (message) => answer(socket.data, owner, message))
            if (!isOurs(socket)) socket.terminate()
          },
          data: (socket, chunk) => socket.data.received(chunk),
          close: (socket) => socket.data.closed(),
          error: (socket) => socket.terminate(),
        },
      })
      return new Ownership(listener)
    } catch (cause) {
      throw new XoffloadError(
        'RUNNING',
        `a gateway process has device ${device} already: stop it, or let this one take over with "xoffload upgrade"`,
        { cause },
      )
    }
  }

  /** As {@link claim}, for a process that takes over: waits for the old one to give the name up. */
  static async succeed(device: string, owner: Owner): Promise<Ownership> {
    const deadline = performance.now() + RETRY_TIMEOUT
    for (;;) {
      try {
        return Ownership.claim(device, owner)
      } catch (error) {
        if (performance.now() > deadline) throw error
        await Bun.sleep(RETRY_INTERVAL)
      }
    }
  }

  /** Gives the name up. */
  close(): void {
    this.#listener.stop(true)
  }

  /** Gives the name up; conversations go on. */
  stopListening(): void {
    this.#listener.stop()
  }
}

/** The process that has the device, as another process sees it. */
export class Predecessor {
  readonly #conversation: Conversation

  private constructor(conversation: Conversation) {
    this.#conversation = conversation
  }

  /** Connects to the process that has the device. Throws {@link XoffloadError} `NOT_RUNNING` when there is none. */
  static async find(device: string): Promise<Predecessor> {
    try {
      const socket = await Bun.connect<Conversation>({
        unix: nameOf(device),
        socket: {
          open(opened) {
            opened.data = new Conversation(opened, () => {})
          },
          data: (opened, chunk) => opened.data.received(chunk),
          close: (opened) => opened.data.closed(),
          error: (opened) => opened.terminate(),
        },
      })
      if (isOurs(socket)) return new Predecessor(socket.data)
      socket.terminate()
    } catch (cause) {
      throw new XoffloadError('NOT_RUNNING', `no gateway process has device ${device}`, { cause })
    }
    throw new XoffloadError('NOT_RUNNING', `a process of another user has the name of the gateway on device ${device}`)
  }

  /** Makes it give device and control channels up. Rejects when it does not. */
  async release(): Promise<void> {
    await this.#conversation.ask('take-over', 'released')
  }

  /** Says that this process listens; resolves when the other one does not any more. */
  async retire(): Promise<void> {
    await this.#conversation.ask('listening', 'retired')
  }

  /** Makes it start a new process that takes over. Resolves with the new one's process id. */
  async upgrade(): Promise<number> {
    return (await this.#conversation.ask('upgrade', 'upgraded')).pid ?? 0
  }

  /** Ends the conversation. A process that has released its device and was not told of a listener goes on as before. */
  close(): void {
    this.#conversation.end()
  }
}

/** Words of two processes, a line of JSON each. */
class Conversation {
  readonly #socket: Socket<Conversation>
  readonly #lines: LineReader
  #waiting: PromiseWithResolvers<Message> | undefined
  /** Called when the other end is gone. */
  onClosed: () => void = () => {}
  /** Whether the device was released in this conversation. */
  released = false

  constructor(socket: Socket<Conversation>, onMessage: (message: Message) => void) {
    this.#socket = socket
    this.#lines = new LineReader((line) => {
      const message: Message = JSON.parse(line)
      if (this.#waiting === undefined) onMessage(message)
      else this.#settle((waiting) => waiting.resolve(message))
    })
  }

  say(word: Word, more: Omit<Message, 'word'> = {}): void {
    this.#socket.write(`${JSON.stringify({ word, ...more })}\n`)
  }

  async ask(word: Word, expected: Word): Promise<Message> {
    const waiting = Promise.withResolvers<Message>()
    this.#waiting = waiting
    this.say(word)
    const timer = setTimeout(() => this.#fail('the other process does not answer'), ANSWER_TIMEOUT)
    try {
      const message = await waiting.promise
      if (message.word === expected) return message
      throw new XoffloadError('UPGRADE', message.text ?? `the other process said "${message.word}"`)
    } finally {
      clearTimeout(timer)
    }
  }

  received(chunk: Uint8Array): void {
    try {
      this.#lines.push(chunk)
    } catch {
      // Whoever it is speaks another language.
      this.#socket.terminate()
    }
  }

  closed(): void {
    this.#fail('the other process has gone')
    this.onClosed()
  }

  end(): void {
    this.#socket.end()
  }

  terminate(): void {
    this.#socket.terminate()
  }

  #fail(text: string): void {
    this.#settle((waiting) => waiting.reject(new XoffloadError('UPGRADE', text)))
  }

  #settle(how: (waiting: PromiseWithResolvers<Message>) => void): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) how(waiting)
  }
}

/** What the owner of a device answers. */
function answer(conversation: Conversation, owner: Owner, { word }: Message): void {
  const run = async (): Promise<void> => {
    switch (word) {
      case 'take-over':
        await release(conversation, owner)
        return
      case 'listening':
        if (!conversation.released) throw new XoffloadError('UPGRADE', 'the device was not released to this process')
        conversation.onClosed = () => {}
        await owner.retire()
        conversation.say('retired')
        return
      case 'upgrade':
        conversation.say('upgraded', { pid: await owner.upgrade() })
        return
      default:
        conversation.end()
    }
  }
  run().catch((error) => conversation.say('failed', { text: errorText(error) }))
}

/** Releases the device to the other process, and takes it back when that goes away or says nothing more. */
async function release(conversation: Conversation, owner: Owner): Promise<void> {
  let gone = false
  conversation.onClosed = () => {
    gone = true
  }
  // When it rejects it has resumed already, or it was another conversation's.
  await owner.release()
  if (gone) {
    await owner.resume()
    return
  }
  const late = setTimeout(() => conversation.terminate(), SUCCESSOR_TIMEOUT)
  // A process that has retired does not stay for it.
  late.unref()
  conversation.onClosed = () => {
    clearTimeout(late)
    owner.resume().catch((error) => conversation.say('failed', { text: errorText(error) }))
  }
  conversation.released = true
  conversation.say('released')
}

/** Abstract names have no permissions (unix(7)): only processes of this user, and of root, are listened to. */
function isOurs(socket: Socket<Conversation>): boolean {
  // Bun documents no property for the file descriptor of a socket in its types.
  const { uid } = peerCredentials((socket as unknown as { readonly fd: number }).fd)
  return uid === 0 || uid === process.geteuid?.()
}

function nameOf(device: string): string {
  return `\0xoffload/gateway/${device}`
}
