import type { FlowKey } from '@xoffload/core'
import { flowOf } from '@xoffload/linux'
import { parseRequestHead, type RequestHead } from '@xoffload/proxy-adapters/http'
import type { Socket } from 'bun'
import { joined } from '../runtime/joined.ts'
import { SocketOrigin } from '../runtime/socket-origin.ts'
import { Relay } from './relay.ts'
import type { Server } from './server.ts'

/** The receive buffer of Bun's event loop: a read that fills it is followed by another one before the pause takes effect. */
const READ_BUFFER = 512 * 1024
const LINE_FEED = 0x0a
const NOTHING = new Uint8Array()
/** Milliseconds that a client gets to read an error response and close. */
const CLOSE_TIMEOUT = 1000
/** Milliseconds that a relayed connection may take to reach its server, and that nothing may move on it then. */
const RELAY_CONNECT_TIMEOUT = 5000
const RELAY_IDLE_TIMEOUT = 120_000

/** What the gateway does for its client connections. */
export interface ConnectionOwner {
  readonly headBytes: number
  /** The head of a request is complete. The socket is paused. */
  requested(connection: ClientConnection, head: RequestHead): void
  /** What has come in time is no request head that this host can be sure about, or not all of one. The socket is paused. */
  unreadable(connection: ClientConnection, problem: UnreadableHead): void
  /** The socket is closed. */
  closed(connection: ClientConnection): void
}

/** What a gateway says of a request that it does not understand, if it has to answer itself. */
export interface UnreadableHead {
  readonly status: number
  readonly reason: string
}

/**
 * One client connection that is here, accepted or given back by a server: from its first byte until it is handed off, relayed to its
 * end, or refused.
 */
export class ClientConnection {
  readonly #owner: ConnectionOwner
  readonly #socket: Socket<ClientConnection>
  #phase: 'head' | 'moving' | 'handed-off' | 'relay' | 'closing' | 'closed' = 'head'
  /** What was read and is served elsewhere. Overwritten when nobody here needs it any more (invariant 9). */
  #received: Uint8Array = NOTHING
  #clientEnded = false
  /** Its head had not come when the time for it was over: until a server answers, nothing that it sends gives it more time. */
  #isLate = false
  #origin: SocketOrigin | undefined
  /** To be called when the client goes away while the connection moves. */
  #onGone: ((flow: FlowKey) => void) | undefined
  #relay: Relay | undefined
  #relayServer: Server | undefined
  /** What a server's application had written and TCP had not sent when the connection came back here. */
  #unsent: Uint8Array
  /** When the phase must be over, in milliseconds of `performance.now()`; undefined in phases without a limit. */
  deadline: number | undefined

  constructor(
    owner: ConnectionOwner,
    socket: Socket<ClientConnection>,
    headTimeout: number,
    unsent: Uint8Array = NOTHING,
  ) {
    this.#owner = owner
    this.#socket = socket
    this.#unsent = unsent
    this.deadline = performance.now() + headTimeout
    socket.setNoDelay(true)
    this.#sendUnsent()
    // What it asks for next has to wait: the answer must not overtake the rest of the one before.
    if (this.#unsent.length > 0) socket.pause()
  }

  /** Where the client is, for server selection. */
  get client(): { address: string; port: number } {
    return { address: this.#socket.remoteAddress, port: this.#socket.remotePort }
  }

  /** Whether all that is left here is a frozen socket: the connection lives elsewhere. */
  get isHandedOff(): boolean {
    return this.#phase === 'handed-off'
  }

  /** The address that the client has connected to. */
  get service(): { address: string; port: number } {
    return { address: this.#socket.localAddress, port: this.#socket.localPort }
  }

  data(chunk: Uint8Array): void {
    if (this.#phase === 'relay') {
      this.#relay?.clientData(chunk)
      if (!this.#isLate) this.#moved()
    } else if (this.#phase === 'head' || this.#phase === 'moving') this.#append(chunk)
  }

  drain(): void {
    if (this.#unsent.length > 0) {
      this.#sendUnsent()
      this.#moved()
      if (this.#unsent.length > 0) return
      if (this.#clientEnded) this.#socket.end()
      else this.#socket.resume()
      return
    }
    if (this.#phase === 'relay') this.#moved()
    this.#relay?.clientDrain()
  }

  /** The client's FIN was read. */
  end(): void {
    this.#clientEnded = true
    if (this.#phase === 'relay') this.#relay?.clientEnd()
    else if (this.#phase === 'closing' || (this.#phase === 'head' && this.#unsent.length === 0)) this.#socket.end()
  }

  close(): void {
    if (this.#phase === 'closed') return
    const moving = this.#phase === 'moving'
    this.#phase = 'closed'
    this.deadline = undefined
    this.#forget()
    this.#unsent.fill(0)
    this.#origin?.closed()
    if (moving && this.#origin !== undefined) this.#onGone?.(this.#origin.flow)
    this.#endRelay()
    this.#owner.closed(this)
  }

  /** The deadline has passed. */
  expire(): void {
    this.deadline = undefined
    if (this.#phase !== 'head' || this.#unsent.length > 0) this.#socket.terminate()
    else if (this.#received.length === 0) this.#closeOrderly()
    else {
      this.#phase = 'moving'
      this.#isLate = true
      this.#socket.pause()
      this.#owner.unreadable(this, { status: 408, reason: 'the request head did not arrive in time' })
    }
  }

  /**
   * Makes the connection the origin of a handoff. It must be paused, and stays so. `onGone` is called when the client resets the connection
   * before the handoff is over: what it sends after the flow is locked is held, so that this is soon or never.
   */
  originate(onGone: (flow: FlowKey) => void): SocketOrigin {
    this.#onGone = onGone
    // Bun documents no property for the file descriptor of a socket in its types.
    const { fd } = this.#socket as unknown as { fd: number }
    this.#origin = new SocketOrigin({
      flow: flowOf(fd),
      fd,
      received: () => this.#received,
      terminate: () => this.#socket.terminate(),
    })
    return this.#origin
  }

  /** The handoff is committed: what is left here is a frozen socket that the handoff closes. */
  handedOff(): void {
    if (this.#phase === 'moving') this.#phase = 'handed-off'
    // The target has it.
    this.#forget()
  }

  /** Whether the socket is gone. */
  get isClosed(): boolean {
    return this.#phase === 'closed'
  }

  /**
   * Serves the connection through this process: everything goes to `server`, what was read of it first. When that cannot be reached, to the
   * one that `instead` names, given those that were tried.
   */
  relay(server: Server, instead: (tried: ReadonlySet<Server>) => Server | undefined, tried = new Set<Server>()): void {
    if (this.#phase === 'closed' || server.proxy === undefined) return
    tried.add(server)
    this.#phase = 'relay'
    this.deadline = performance.now() + RELAY_CONNECT_TIMEOUT
    this.#relayServer = server
    server.connections++
    const owner = {
      connected: () => this.#moved(),
      moved: () => {
        this.#isLate = false
        this.#moved()
      },
      unreachable: (received: Uint8Array) => {
        // It is not closed, as that would overwrite what the next one is to send.
        this.#relay = undefined
        this.#endRelay()
        this.#received = received
        const next = instead(tried)
        if (next === undefined) this.refuse(502, `server ${server.name} cannot be reached`)
        else this.relay(next, instead, tried)
      },
      finished: (broken: boolean) => {
        this.#endRelay()
        if (broken) this.#socket.terminate()
        else this.#closeOrderly()
      },
    }
    this.#relay = Relay.start(owner, this.#socket, server.proxy, this.#received, this.#clientEnded)
    // The relay's now.
    this.#received = NOTHING
  }

  /** Answers with an error and closes. */
  refuse(status: number, reason: string): void {
    if (this.#phase === 'closed') return
    const body = `${reason}\n`
    const head = `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? 'Error'}\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`
    this.#forget()
    this.#socket.write(head + body)
    this.#closeOrderly()
  }

  /** Closes without another word: an RST when something was not read. */
  terminate(): void {
    this.#socket.terminate()
  }

  #append(chunk: Uint8Array): void {
    // Only the end of a line can make a head complete or wrong: one that comes byte by byte is not parsed at every byte.
    const { length } = chunk
    const mayBeComplete = chunk.includes(LINE_FEED)
    this.#received = this.#received.length === 0 ? chunk : joined(this.#received, chunk)
    if (this.#phase !== 'head' || (this.#received.length < this.#owner.headBytes && !mayBeComplete)) return
    const head = parseRequestHead(this.#received, { headSize: this.#owner.headBytes })
    if (head.kind === 'incomplete') return
    this.#phase = 'moving'
    this.deadline = undefined
    this.#socket.pause()
    if (head.kind === 'error') this.#owner.unreadable(this, head)
    else if (length < READ_BUFFER) this.#owner.requested(this, head)
    else setImmediate(() => this.#phase === 'moving' && this.#owner.requested(this, head))
  }

  #sendUnsent(): void {
    if (this.#unsent.length === 0) return
    const sent = Math.max(this.#socket.write(this.#unsent), 0)
    this.#unsent.fill(0, 0, sent)
    this.#unsent = this.#unsent.subarray(sent)
  }

  #forget(): void {
    this.#received.fill(0)
    this.#received = NOTHING
  }

  #moved(): void {
    this.deadline = performance.now() + RELAY_IDLE_TIMEOUT
  }

  /** Sends a FIN and reads on for a while: closing with unread bytes would make an RST that destroys what was sent. */
  #closeOrderly(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closing'
    this.deadline = performance.now() + CLOSE_TIMEOUT
    this.#socket.resume()
    if (this.#clientEnded) this.#socket.end()
    else this.#socket.shutdown()
  }

  #endRelay(): void {
    this.#relay?.close()
    this.#relay = undefined
    if (this.#relayServer !== undefined) this.#relayServer.connections--
    this.#relayServer = undefined
  }
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  414: 'URI Too Long',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
}
