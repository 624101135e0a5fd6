import { closeFd } from '@xoffload/linux'
import type { Socket, UnixSocketListener } from 'bun'
import { PreloadError } from '../preload/errors.ts'
import { listenForShims } from '../preload/shim-listener.ts'
import { NginxArrival } from './arrival.ts'
import { NginxError } from './errors.ts'
import type { NginxGatewayOptions, NginxVerdict } from './options.ts'
import type { Offer } from './protocol.ts'
import { NginxWorker, type OfferedConnection } from './worker.ts'

const OUT_OF_DESCRIPTORS = 'the gateway may not open more files'
const DEFAULT_MAXIMUM_IN_FLIGHT = 1024
const DEFAULT_MAXIMUM_WORKERS = 256

/**
 * Takes the connections that nginx gives away (`xoffload_pass`): nginx accepts clients, reads their requests and selects the servers, and
 * this process hands the connections off.
 */
export class NginxGatewayServer {
  readonly #options: NginxGatewayOptions
  readonly #workers = new Map<Socket<unknown>, NginxWorker>()
  #listener: UnixSocketListener<unknown> | undefined
  #inFlight = 0
  #closing = false
  readonly #settled = Promise.withResolvers<void>()

  private constructor(options: NginxGatewayOptions) {
    this.#options = options
  }

  /**
   * Listens for workers of nginx. Rejects with {@link NginxError} (`busy`) when another process listens at the socket, and with the file
   * system's error.
   */
  static async open(options: NginxGatewayOptions): Promise<NginxGatewayServer> {
    const server = new NginxGatewayServer(options)
    try {
      server.#listener = await listenForShims(options.socket, {
        open: (socket) => server.#connected(socket),
        data: (socket, bytes) => server.#received(socket, bytes),
        close: (socket) => server.#gone(socket),
      })
    } catch (error) {
      if (error instanceof PreloadError) throw new NginxError('busy', error.message, { cause: error })
      throw error
    }
    return server
  }

  /** Workers of nginx that are connected: each is from its first offer on. */
  get workers(): readonly { readonly pid: number; readonly uid: number }[] {
    return [...this.#workers.values()]
      .filter(({ welcomed }) => welcomed)
      .map(({ peer: { pid, uid } }) => ({ pid, uid }))
  }

  /** Connections that nginx waits for. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Refuses what comes from now on, and resolves when all that came before is answered: as late as the handler. Safe to call twice.
   */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      this.#listener?.stop()
      for (const worker of this.#workers.values()) worker.finish()
      this.#settle()
    }
    await this.#settled.promise
  }

  #connected(socket: Socket<unknown>): void {
    try {
      const worker = new NginxWorker(socket)
      this.#admit(worker)
      this.#workers.set(socket, worker)
    } catch (error) {
      socket.terminate()
      this.#report(error)
    }
  }

  #admit({ peer: { pid, uid } }: NginxWorker): void {
    const { users = [], socket, maximumWorkers = DEFAULT_MAXIMUM_WORKERS } = this.#options
    if (uid !== 0 && uid !== process.geteuid?.() && !users.includes(uid)) {
      throw new NginxError('refused', `process ${pid} of user ${uid} connected to ${socket}: name the user in "users"`)
    }
    if (this.#workers.size >= maximumWorkers) {
      throw new NginxError('busy', `${maximumWorkers} workers of nginx are connected: raise "maximumWorkers"`)
    }
  }

  #received(socket: Socket<unknown>, bytes: Uint8Array): void {
    const worker = this.#workers.get(socket)
    if (worker === undefined) return
    try {
      for (const offered of worker.receive(bytes)) this.#take(worker, offered)
    } catch (error) {
      this.#report(error)
      // Not before its other connections are answered: it would go on with them.
      worker.finish()
    }
  }

  #take(worker: NginxWorker, { offer, fd }: OfferedConnection): void {
    worker.inFlight++
    const arrival = fd === undefined ? OUT_OF_DESCRIPTORS : this.#arrive(worker, offer, fd)
    if (typeof arrival === 'string') {
      if (fd !== undefined) closeFd(fd)
      worker.answer('refused', offer.id, arrival)
      return
    }
    this.#inFlight++
    void this.#handle(arrival).then((verdict) => this.#answer(worker, offer.id, arrival, verdict))
  }

  /** Else the reason why it is refused. */
  #arrive(worker: NginxWorker, offer: Offer, fd: number): NginxArrival | string {
    if (this.#closing) return 'the gateway is being closed'
    if (this.#inFlight >= (this.#options.maximumInFlight ?? DEFAULT_MAXIMUM_IN_FLIGHT)) return 'the gateway is busy'
    try {
      return new NginxArrival(fd, offer, worker.peer)
    } catch (error) {
      // Nothing unusual: the client is gone, and nginx finds that out.
      return textOf(error)
    }
  }

  async #handle(arrival: NginxArrival): Promise<NginxVerdict> {
    try {
      return await this.#options.onArrival(arrival)
    } catch (error) {
      this.#report(error)
      return { result: 'refused', reason: textOf(error) }
    }
  }

  #answer(worker: NginxWorker, id: bigint, arrival: NginxArrival, verdict: NginxVerdict): void {
    if (verdict.result === 'handed-off') worker.answer('handed-off', id)
    else {
      // Before nginx goes on: its own close is to be the last one, which the client hears of.
      arrival.close()
      const failed = verdict.result === 'refused' && verdict.serverFailed === true
      worker.answer(failed ? 'failed' : verdict.result, id, verdict.reason)
    }
    this.#inFlight--
    this.#settle()
  }

  #settle(): void {
    if (this.#closing && this.#inFlight === 0) this.#settled.resolve()
  }

  #gone(socket: Socket<unknown>): void {
    this.#workers.get(socket)?.close()
    this.#workers.delete(socket)
  }

  #report(error: unknown): void {
    if (this.#options.onError !== undefined) this.#options.onError(error)
    else process.stderr.write(`${textOf(error)}\n`)
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
