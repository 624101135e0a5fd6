// One client connection, driven by the test, whose answers are checked byte by byte.
import { inNetworkNamespace } from '@xoffload/linux'
import type { Socket } from 'bun'
import type { Host } from '../../../src/host.ts'
import { encodeRequest, expectedResponse, type PlannedRequest } from '../../../src/soak/plan.ts'
import { ResponseReader } from '../../../src/soak/response-reader.ts'

/** Milliseconds for answers; the guest's processor is emulated. */
const PATIENCE = 120_000

/** A keep-alive connection of a host, for the application of the soak. */
export class KeepAliveClient implements Disposable {
  readonly #reader = new ResponseReader()
  #socket: Socket | undefined
  #outgoing: Uint8Array = new Uint8Array()
  #failure: Error | undefined
  #changed = Promise.withResolvers<void>()

  private constructor() {}

  /** Connects; this process need not be in the host's network namespace. */
  static async connect(host: Host, hostname: string, port: number): Promise<KeepAliveClient> {
    const client = new KeepAliveClient()
    client.#socket = await inNetworkNamespace(host.namespacePath, () =>
      Bun.connect({
        hostname,
        port,
        socket: {
          data: (_socket, chunk) => client.#take(chunk),
          drain: () => client.#write(),
          end: () => client.#fail(new Error('the server has closed')),
          close: (_socket, error) => client.#fail(error ?? new Error('the connection is closed')),
          error: (_socket, error) => client.#fail(error),
        },
      }),
    )
    return client
  }

  get port(): number {
    return this.#socket?.localPort ?? 0
  }

  /** Sends requests at once, and waits for their answers. Resolves with the servers' names. Throws what was wrong. */
  async ask(...requests: readonly PlannedRequest[]): Promise<string[]> {
    const before = this.#reader.servers.length
    for (const request of requests) this.#reader.expect(expectedResponse(request))
    this.#outgoing = Buffer.concat(requests.flatMap((request) => encodeRequest(request, false)))
    this.#write()
    const timer = setTimeout(() => this.#fail(new Error(`no answer: ${this.#reader.state}`)), PATIENCE)
    try {
      while (this.#reader.outstanding > 0) {
        if (this.#failure !== undefined) throw this.#failure
        await this.#changed.promise
      }
    } finally {
      clearTimeout(timer)
    }
    return this.#reader.servers.slice(before)
  }

  [Symbol.dispose](): void {
    this.#socket?.end()
  }

  #take(chunk: Buffer): void {
    try {
      this.#reader.take(chunk)
    } catch (error) {
      this.#failure ??= error as Error
    }
    this.#wake()
  }

  #write(): void {
    while (this.#outgoing.length > 0) {
      const written = this.#socket?.write(this.#outgoing) ?? 0
      if (written <= 0) return
      this.#outgoing = this.#outgoing.subarray(written)
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}
