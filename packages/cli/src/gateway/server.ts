import type { Endpoint, HelloMessage, ServerState, SteerTarget } from '@xoffload/core'
import type { ControlChannel } from '../control/index.ts'

/** A server in a list to select from: as the target of a handoff, or as the one to relay to, which needs no control channel. */
export interface Candidate extends ServerState {
  readonly server: Server
}

/** A server as the gateway knows it. */
export class Server {
  readonly name: string
  /** Where requests are proxied to when their connection cannot be handed off. */
  readonly proxy: Endpoint | undefined
  /** Connections that were handed to it or are proxied to it. */
  connections = 0
  /** It is given no connection, and those that it has are moved away. */
  draining = false
  /** Since when it is not connected, milliseconds of `performance.now()`; undefined when it is, never was, or was given up. */
  goneSince: number | undefined
  #channel: ControlChannel | undefined
  #hello: HelloMessage | undefined
  #steer: SteerTarget | undefined

  constructor(name: string, proxy: Endpoint | undefined) {
    this.name = name
    this.proxy = proxy
  }

  /** Whether connections can be handed to it. */
  get up(): boolean {
    return this.#channel?.connected ?? false
  }

  /** The control channel to it and where its packets go, undefined before it has connected once. */
  get destination():
    | { readonly channel: ControlChannel; readonly steer: SteerTarget; readonly maximumHandoffs: number }
    | undefined {
    if (this.#channel === undefined || this.#steer === undefined || this.#hello === undefined) return undefined
    return { channel: this.#channel, steer: this.#steer, maximumHandoffs: this.#hello.maximumHandoffs }
  }

  /** It has connected. True when its process is another one than before: it knows nothing of the connections it had. */
  connected(channel: ControlChannel, hello: HelloMessage): boolean {
    const restarted = this.#hello !== undefined && this.#hello.instance !== hello.instance
    this.goneSince = undefined
    this.#channel = channel
    this.#hello = hello
    this.#steer = { mode: 'l2', mac: hello.mac }
    return restarted
  }

  /** Its control channel is gone. */
  disconnected(): void {
    this.goneSince = performance.now()
  }

  /** It was gone for too long. */
  giveUp(): void {
    this.goneSince = undefined
  }

  /** This server as the target of a handoff. */
  asTarget(): Candidate {
    const server = this
    return {
      server,
      name: this.name,
      get up() {
        return server.up && !server.draining
      },
      get connections() {
        return server.connections
      },
    }
  }

  /** This server as the one to relay to. */
  asRelay(): Candidate {
    const server = this
    return {
      server,
      name: this.name,
      get up() {
        return server.proxy !== undefined && !server.draining
      },
      get connections() {
        return server.connections
      },
    }
  }
}
