import { inNetworkNamespace } from '@xoffload/linux'
import type { Socket } from 'bun'
import type { Host } from '../host.ts'

/** How a connection ended that should not have. */
export class ConnectionEnded extends Error {}

/** One keep-alive HTTP connection of a host, driven by a test in this process. */
export class HttpClient {
  readonly #socket: Socket
  readonly #state: State

  private constructor(socket: Socket, state: State) {
    this.#socket = socket
    this.#state = state
  }

  /** Opens a connection from the host, in whose network namespace this process need not be. */
  static async connect(host: Host, address: string, port: number): Promise<HttpClient> {
    const state = new State()
    const socket = await inNetworkNamespace(host.namespacePath, () =>
      Bun.connect({
        hostname: address,
        port,
        socket: {
          data: (_socket, chunk) => state.push(chunk),
          end: (ended) => {
            state.fail('FIN')
            ended.end()
          },
          close: () => state.fail('closed'),
          error: (_socket, error) => state.fail(error.message),
          connectError: (_socket, error) => state.fail(error.message),
        },
      }),
    )
    return new HttpClient(socket, state)
  }

  /** The client's port. */
  get port(): number {
    return this.#socket.localPort
  }

  /** Sends bytes as they are. */
  write(text: string): void {
    this.#socket.write(text)
  }

  /** Asks for a ramp of `size` bytes and checks it. Resolves with the name of the server that answered. Rejects with {@link ConnectionEnded}. */
  async get(size: number, timeout = 10_000): Promise<string> {
    this.write(`GET /bytes/${size} HTTP/1.1\r\nHost: x\r\n\r\n`)
    return await this.response(size, timeout)
  }

  /** The next response, which must be a ramp of `size` bytes. */
  async response(size: number, timeout = 10_000): Promise<string> {
    const head = (
      await this.#state.until((bytes) => {
        const end = bytes.indexOf('\r\n\r\n')
        return end < 0 ? undefined : end + 4
      }, timeout)
    ).toString('latin1')
    if (!head.startsWith('HTTP/1.1 200')) throw new ConnectionEnded(head.slice(0, head.indexOf('\r\n')))
    const body = await this.#state.until((bytes) => (bytes.length >= size ? size : undefined), timeout)
    const wrong = body.findIndex((byte, index) => byte !== index % 251)
    if (wrong >= 0) throw new Error(`byte ${wrong} of ${size} is wrong`)
    return /x-served-by: (\S+)/i.exec(head)?.[1] ?? ''
  }

  /** Sends a FIN. */
  close(): void {
    this.#socket.end()
  }
}

/** What has arrived, and who waits for more. */
class State {
  #bytes: Buffer = Buffer.alloc(0)
  #failure: string | undefined
  #onChange: (() => void) | undefined

  push(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    this.#onChange?.()
  }

  fail(reason: string): void {
    this.#failure ??= reason
    this.#onChange?.()
  }

  /** Waits until `find` says how many bytes there are to take. */
  until(find: (bytes: Buffer) => number | undefined, timeout: number): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const timer = setTimeout(() => reject(new ConnectionEnded(`nothing for ${timeout} ms`)), timeout)
    const look = (): void => {
      const length = find(this.#bytes)
      if (length !== undefined) {
        resolve(this.#bytes.subarray(0, length))
        this.#bytes = this.#bytes.subarray(length)
      } else if (this.#failure !== undefined) reject(new ConnectionEnded(this.#failure))
      else return
      this.#onChange = undefined
    }
    this.#onChange = look
    look()
    return promise.finally(() => clearTimeout(timer))
  }
}
