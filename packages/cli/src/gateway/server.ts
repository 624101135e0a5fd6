import type { Endpoint, HelloMessage, ServerState, SteerTarget } from '@xoffload/core'
import type { GatewayServer } from '../config/index.ts'
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
  readonly #tunnel: GatewayServer['tunnel']
  #channel: ControlChannel | undefined
  #hello: HelloMessage | undefined
  #steer: SteerTarget | undefined

  /** `tunnel`: the mode of the tunnel that must lead to it; undefined when it is on the segment. */
  constructor(name: string, proxy: Endpoint | undefined, tunnel?: GatewayServer['tunnel']) {
    this.name = name
    this.proxy = proxy
    this.#tunnel = tunnel
  }

  /** Whether connections can be handed to it. */
  get up(): boolean {
    return this.#steer !== undefined && (this.#channel?.connected ?? false)
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
    this.#steer = hello.tunnel?.mode === this.#tunnel ? (hello.tunnel ?? { mode: 'l2', mac: hello.mac }) : undefined
    return restarted
  }

  /** Why it is connected and of no use, undefined when it is of use. */
  get objection(): string | undefined {
    if (this.#hello === undefined || this.#steer !== undefined) return undefined
    const [here, there] = [this.#tunnel, this.#hello.tunnel?.mode].map((mode) => (mode ? `"${mode}"` : 'none'))
    return `its tunnel is ${there}, and that of servers[].tunnel is ${here}: they must be the same`
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
