import { FlowKey } from '@xoffload/core'

const CHUNK = new Uint8Array(256 * 1024)

/** A lasting connection to the server of `hybrid-server.ts`. */
export class UploadConnection {
  readonly flow: FlowKey
  readonly #socket: Bun.Socket
  #left = 0
  #done: PromiseWithResolvers<void> | undefined
  #failure: Error | undefined

  private constructor(socket: Bun.Socket, service: string, port: number) {
    this.#socket = socket
    this.flow = FlowKey.of({ address: socket.localAddress, port: socket.localPort }, { address: service, port })
  }

  /** Begins to connect before it returns, in the network namespace of the moment. */
  static open(service: string, port: number): Promise<UploadConnection> {
    let connection: UploadConnection | undefined
    const fail = (error: Error): void => connection?.fail(error)
    const socket = Bun.connect({
      hostname: service,
      port,
      socket: {
        data: () => connection?.answered(),
        drain: () => connection?.send(),
        close: () => fail(new Error('the server has closed the connection')),
        error: (_, error) => fail(error),
      },
    })
    return socket.then((opened) => {
      connection = new UploadConnection(opened, service, port)
      return connection
    })
  }

  /** Sends so many bytes, and resolves when the server has them all. */
  upload(bytes: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#done = Promise.withResolvers()
    this.#left = bytes
    this.#socket.write(`${bytes}\n`)
    this.send()
    return this.#done.promise
  }

  close(): void {
    this.#done = undefined
    this.#socket.end()
  }

  send(): void {
    while (this.#left > 0) {
      const written = this.#socket.write(CHUNK, 0, Math.min(this.#left, CHUNK.length))
      if (written <= 0) return
      this.#left -= written
    }
  }

  answered(): void {
    this.#done?.resolve()
  }

  fail(error: Error): void {
    this.#failure = error
    this.#done?.reject(error)
  }
}
