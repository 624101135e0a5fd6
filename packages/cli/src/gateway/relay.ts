import type { Socket } from 'bun'
import { joined } from '../runtime/joined.ts'

/**
 * One direction of a relayed connection, with backpressure: at most one chunk waits here, and while one waits, `from` is paused.
 * The owner passes on the events of both sockets. Bytes are overwritten when they are out (invariant 9).
 */
class Pipe {
  readonly #from: Socket<unknown>
  readonly #to: Socket<unknown>
  #rest: Uint8Array | undefined
  #ended = false

  constructor(from: Socket<unknown>, to: Socket<unknown>) {
    this.#from = from
    this.#to = to
  }

  /** A chunk arrived at `from`. */
  push(chunk: Uint8Array): void {
    // A read may still complete after the pause: it is queued behind what waits.
    this.#write(this.#rest === undefined ? chunk : joined(this.#rest, chunk))
    if (this.#rest !== undefined) this.#from.pause()
  }

  /** `to` has room again. */
  drain(): void {
    if (this.#rest === undefined) return
    this.#write(this.#rest)
    if (this.#rest !== undefined) return
    if (this.#ended) this.#to.shutdown()
    else this.#from.resume()
  }

  /** `from` has sent its FIN: it is passed on behind what waits. */
  end(): void {
    this.#ended = true
    if (this.#rest === undefined) this.#to.shutdown()
  }

  /** The FIN of `from` has arrived. */
  get ended(): boolean {
    return this.#ended
  }

  get finished(): boolean {
    return this.#ended && this.#rest === undefined
  }

  /** What waits is not needed any more. */
  drop(): void {
    this.#rest?.fill(0)
    this.#rest = undefined
  }

  #write(bytes: Uint8Array): void {
    const written = Math.max(this.#to.write(bytes), 0)
    bytes.fill(0, 0, written)
    this.#rest = written < bytes.length ? bytes.subarray(written) : undefined
  }
}

/** What a relay does to the connection that it serves. */
export interface RelayOwner {
  /** The server is connected: it has got what was received. */
  connected(): void
  /** Bytes came from the server. */
  moved(): void
  /**
   * The server could not be reached, and nothing was sent to it: the client can still get an answer. `received` is what the relay was given,
   * and is the owner's again.
   */
  unreachable(received: Uint8Array): void
  /** Both directions are at their end, or one side broke: the client connection is to be closed. */
  finished(broken: boolean): void
}

/** Copies bytes between a client and the server that was selected for it: what happens when a handoff cannot be made. */
export class Relay {
  readonly #owner: RelayOwner
  readonly #client: Socket<unknown>
  #server: Socket<unknown> | undefined
  #toServer: Pipe | undefined
  #toClient: Pipe | undefined
  /** What was read from the client before. */
  readonly #received: Uint8Array
  #closed = false

  private constructor(owner: RelayOwner, client: Socket<unknown>, received: Uint8Array) {
    this.#owner = owner
    this.#client = client
    this.#received = received
  }

  /**
   * Connects to `server`, sends `received` first, and then whatever comes. The client must be paused; the relay resumes it. `received` is
   * the relay's, which overwrites it.
   */
  static start(
    owner: RelayOwner,
    client: Socket<unknown>,
    server: { address: string; port: number },
    received: Uint8Array,
    clientEnded: boolean,
  ): Relay {
    const relay = new Relay(owner, client, received)
    Bun.connect({
      hostname: server.address,
      port: server.port,
      allowHalfOpen: true,
      socket: {
        open: (socket) => relay.#connected(socket, clientEnded),
        data: (_socket, chunk) => {
          owner.moved()
          relay.#toClient?.push(chunk)
        },
        drain: () => relay.#toServer?.drain(),
        end: () => relay.#serverEnded(),
        // Once its own FIN is out, Bun closes a socket at the other side's without calling `end`.
        close: (_socket, error) => (error === undefined ? relay.#serverEnded() : relay.#lost()),
        error: () => relay.#lost(),
        connectError: () => relay.#unreachable(),
      },
    }).catch(() => relay.#unreachable())
    return relay
  }

  /** Bytes arrived from the client. */
  clientData(chunk: Uint8Array): void {
    this.#toServer?.push(chunk)
  }

  clientDrain(): void {
    this.#toClient?.drain()
    this.#checkFinished()
  }

  clientEnd(): void {
    this.#toServer?.end()
    this.#checkFinished()
  }

  /** Ends the server's side. Safe to call twice. */
  close(): void {
    this.#closed = true
    this.#server?.terminate()
    this.#server = undefined
    this.#toServer?.drop()
    this.#toClient?.drop()
    this.#received.fill(0)
  }

  #connected(socket: Socket<unknown>, clientEnded: boolean): void {
    if (this.#closed) {
      socket.terminate()
      return
    }
    socket.setNoDelay(true)
    this.#owner.connected()
    this.#server = socket
    this.#toServer = new Pipe(this.#client, socket)
    this.#toClient = new Pipe(socket, this.#client)
    this.#client.resume()
    this.#toServer.push(this.#received)
    if (clientEnded) this.#toServer.end()
  }

  /** The server has sent its FIN. */
  #serverEnded(): void {
    if (this.#closed) return
    this.#toClient?.end()
    this.#checkFinished()
  }

  #checkFinished(): void {
    if (this.#closed || !this.#toClient?.finished) return
    // The server has said all it will say; a client that goes on sending has nobody left to read it.
    this.close()
    this.#owner.finished(false)
  }

  #lost(): void {
    if (this.#closed) return
    // After an orderly end the last bytes may still wait for the client to have room: its drain finishes the relay.
    if (this.#toClient?.ended && !this.#toClient.finished) return
    const orderly = this.#toClient?.finished ?? false
    this.close()
    this.#owner.finished(!orderly)
  }

  #unreachable(): void {
    if (this.#closed || this.#server !== undefined) return
    this.#closed = true
    this.#owner.unreachable(this.#received)
  }
}
