import { randomBytes } from 'node:crypto'
import { closeFd, tryReceive, trySend, unixPair } from '@xoffload/linux'
import type { Socket, UnixSocketListener } from 'bun'
import { descriptorOf } from '../../src/bun/descriptor.ts'
import { Knock } from '../../src/preload/knock.ts'
import {
  type AgentMessage,
  encodeAgentMessage,
  encodeKnock,
  PROTOCOL_VERSION,
  type ShimMessage,
  ShimMessageDecoder,
} from '../../src/preload/protocol.ts'
import { afterTest, eventually } from './support.ts'

/** An agent that says what it is told to, and no more. */
export class FakeAgent {
  readonly messages: ShimMessage[] = []
  readonly secret = randomBytes(16)
  readonly #listener: UnixSocketListener<undefined>
  readonly #mailbox = unixPair()
  readonly #returns = unixPair()
  readonly #own = [...this.#mailbox, ...this.#returns]
  readonly #port: number
  #socket: Socket<undefined> | undefined

  constructor(path: string, port: number) {
    this.#port = port
    const decoder = new ShimMessageDecoder()
    this.#listener = Bun.listen<undefined>({
      unix: path,
      socket: {
        open: (socket) => {
          this.#socket = socket
        },
        data: (_, bytes) => {
          this.messages.push(...decoder.decode(bytes).map((message) => ({ ...message, bytes: message.bytes.slice() })))
        },
        close: () => {
          this.#socket = undefined
        },
      },
    })
    afterTest(() => this.close())
  }

  /** Whether a process is connected. */
  get connected(): boolean {
    return this.#socket !== undefined
  }

  /** Knocks, and closes the knock when the program has. */
  async knock(secret: Uint8Array = this.secret): Promise<void> {
    const knock = new Knock({ address: '127.0.0.1', port: this.#port }, encodeKnock(secret))
    try {
      await eventually(() => knock.over)
    } finally {
      knock.close()
    }
  }

  /** Knocks until a process has said hello, and welcomes it. One that this process was too slow for has hung up: it knocks again. */
  async welcome(): Promise<void> {
    await eventually(() => this.#tryToWelcome())
  }

  async #tryToWelcome(): Promise<boolean> {
    const knock = new Knock({ address: '127.0.0.1', port: this.#port }, encodeKnock(this.secret))
    try {
      await eventually(() => knock.over || this.messages.some(({ type }) => type === 'hello'))
      if (this.connected) {
        const welcome: AgentMessage = {
          type: 'welcome',
          value: PROTOCOL_VERSION,
          argument: 50_000,
          secret: this.secret,
        }
        this.send(encodeAgentMessage(welcome), [this.#mailbox[1], this.#returns[1]])
        await eventually(() => knock.over)
      }
      if (!this.connected) this.messages.length = 0
      return this.connected
    } finally {
      knock.close()
    }
  }

  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (this.#socket === undefined) throw new Error('no process is connected')
    trySend(descriptorOf(this.#socket), bytes, fds)
  }

  tell(message: AgentMessage): void {
    this.send(encodeAgentMessage(message))
  }

  /** Puts something into the mailbox. */
  post(bytes: Uint8Array, fds: readonly number[]): void {
    trySend(this.#mailbox[0], bytes, fds)
  }

  /** Descriptors that the program has given back. */
  returned(): readonly number[] {
    const message = tryReceive(this.#returns[0])
    return message === undefined || message === 'nothing' ? [] : message.fds
  }

  async message(type: ShimMessage['type']): Promise<ShimMessage> {
    await eventually(() => this.messages.some((message) => message.type === type))
    return this.messages.find((message) => message.type === type) as ShimMessage
  }

  close(): void {
    this.#listener.stop(true)
    for (const fd of this.#own.splice(0)) closeFd(fd)
  }
}
