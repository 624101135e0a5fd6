import type { Socket } from 'bun'

/** A response as it came over the wire. */
export interface RawResponse {
  readonly status: number
  readonly reason: string
  /** Names in lower case. */
  readonly headers: Map<string, string>
  readonly head: string
  readonly body: Buffer
}

/** A TCP client that shows every byte. All waiting is for events. */
export class RawClient {
  #socket!: Socket<undefined>
  #received = Buffer.alloc(0)
  #ended = false
  #closed = false
  #reset = false
  #changed = Promise.withResolvers<void>()

  /** Connects to a port on loopback. */
  static async connect(port: number): Promise<RawClient> {
    const client = new RawClient()
    client.attach(await Bun.connect({ hostname: '127.0.0.1', port, allowHalfOpen: true, socket: client.handlers }))
    return client
  }

  /** Uses a connection that was opened with this client's {@link handlers}. */
  attach(socket: Socket<undefined>): void {
    this.#socket = socket
  }

  readonly handlers = {
    data: (_: Socket<undefined>, chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#change()
    },
    drain: () => this.#change(),
    end: () => {
      this.#ended = true
      this.#change()
    },
    close: (_: Socket<undefined>, error?: Error) => {
      this.#reset = error !== undefined
      this.#ended = true
      this.#closed = true
      this.#change()
    },
    error: () => {},
  }

  get localPort(): number {
    return this.#socket.localPort
  }

  /** Sends all of `data`, however long that takes. */
  async send(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data
    for (let sent = 0; sent < bytes.length; ) {
      const changed = this.#changed.promise
      const written = this.#socket.write(bytes, sent, bytes.length - sent)
      if (written < 0 || this.#closed) return
      sent += written
      if (sent < bytes.length) await changed
    }
  }

  /** Everything received and not taken yet. */
  get received(): Buffer {
    return this.#received
  }

  /** Waits for `count` bytes and takes them. */
  async take(count: number): Promise<Buffer> {
    await this.until(() => this.#received.length >= count)
    const taken = this.#received.subarray(0, count)
    this.#received = this.#received.subarray(count)
    return taken
  }

  /** Reads one response. @param toHead whether it answers HEAD, so that nothing follows the head. */
  async response(toHead = false): Promise<RawResponse> {
    await this.until(() => this.#received.includes('\r\n\r\n'))
    const head = (await this.take(this.#received.indexOf('\r\n\r\n') + 4)).toString('latin1')
    const [start = '', ...lines] = head.trimEnd().split('\r\n')
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
    )
    const status = Number(start.slice(9, 12))
    return { status, reason: start.slice(13), headers, head, body: await this.#body(status, headers, toHead) }
  }

  async #body(status: number, headers: Map<string, string>, toHead: boolean): Promise<Buffer> {
    if (toHead || status < 200 || status === 204 || status === 304) return Buffer.alloc(0)
    const length = headers.get('content-length')
    if (length !== undefined) return await this.take(Number(length))
    if (headers.get('transfer-encoding') === 'chunked') return await this.#chunks()
    await this.end()
    return await this.take(this.#received.length)
  }

  async #chunks(): Promise<Buffer> {
    const chunks: Buffer[] = []
    while (true) {
      await this.until(() => this.#received.includes('\r\n'))
      const line = (await this.take(this.#received.indexOf('\r\n') + 2)).toString('latin1').trimEnd()
      if (!/^[0-9a-f]+$/.test(line)) throw new Error(`not a chunk size: ${JSON.stringify(line)}`)
      const size = Number.parseInt(line, 16)
      chunks.push(await this.take(size))
      if ((await this.take(2)).toString() !== '\r\n') throw new Error('a chunk does not end with CRLF')
      if (size === 0) return Buffer.concat(chunks)
    }
  }

  /** Waits until the server has ended its half, or the connection is gone. */
  async end(): Promise<void> {
    await this.until(() => this.#ended, true)
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Whether the connection was closed by an RST. */
  get resetByPeer(): boolean {
    return this.#reset
  }

  /** Waits for `condition`, which is looked at whenever something arrives. */
  async until(condition: () => boolean, mayEnd = false): Promise<void> {
    while (!condition()) {
      if (this.#ended && !mayEnd)
        throw new Error(`the connection ended after ${JSON.stringify(this.#received.toString('latin1').slice(0, 300))}`)
      await this.#changed.promise
    }
  }

  /** Ends our half only. */
  halfClose(): void {
    this.#socket.shutdown()
  }

  /** Stops reading, so that the server's send buffer fills. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#socket.terminate()
  }

  #change(): void {
    const { resolve } = this.#changed
    this.#changed = Promise.withResolvers()
    resolve()
  }
}
