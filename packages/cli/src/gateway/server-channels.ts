import { errorText, type HandoffCoordinator, type HelloMessage, XoffloadError } from '@xoffload/core'
import type { GatewayConfig } from '../config/index.ts'
import {
  type ControlChannel,
  ControlConnector,
  type ControlCredentials,
  type ControlError,
  type ControlMessage,
} from '../control/index.ts'
import { channelLimits } from '../runtime/channel-limits.ts'
import { deviceMac } from '../runtime/device.ts'
import { helloOf } from '../runtime/hello.ts'
import type { Log } from '../runtime/log.ts'
import { sourceProblem } from '../runtime/source-address.ts'
import type { Journal } from './journal.ts'
import type { Moves } from './moves.ts'
import type { Recovery } from './recovery.ts'
import type { Server } from './server.ts'
import type { Steering } from './steering.ts'

/** How often {@link ServerChannels.allUp} looks, in milliseconds. */
const POLL_INTERVAL = 5

/** Whom messages of servers concern, and what the channels are made of. */
export interface ServerChannelsOptions {
  readonly config: GatewayConfig
  readonly servers: readonly Server[]
  readonly coordinator: HandoffCoordinator
  readonly steering: Steering
  readonly moves: Moves
  readonly recovery: Recovery
  readonly journal: Journal
  readonly log: Log
}

/** The control channels to the servers: takes each message to whom it concerns, and notices servers that come, go and stay away. */
export class ServerChannels {
  readonly #options: ServerChannelsOptions
  #connector: ControlConnector | undefined
  #credentials: ControlCredentials | undefined

  constructor(options: ServerChannelsOptions) {
    this.#options = options
  }

  /** Begins to connect. */
  open(credentials: ControlCredentials): void {
    this.#credentials = credentials
    const { config, log } = this.#options
    this.#connector = new ControlConnector({
      peers: config.servers.map(({ name, control }) => ({ name, endpoint: control })),
      credentials,
      limits: channelLimits(config.limits),
      hello: helloOf({ host: config.name, mac: deviceMac(config.device), maximumHandoffs: 0 }),
      onUp: (channel, hello) => this.#up(channel, hello),
      onMessage: (channel, message) => this.#receive(channel, message),
      onDown: (channel, reason) => this.#down(channel, reason),
      onThrottled: ({ host }) => log('errors', { event: 'control-throttled', server: host }),
      onUnavailable: (peer, error) => this.#unavailable(peer, error),
    })
  }

  /** Those that it was opened with last. Throws before that. */
  get credentials(): ControlCredentials {
    if (this.#credentials === undefined) throw new XoffloadError('CREDENTIALS', 'the channels were never opened')
    return this.#credentials
  }

  close(): void {
    this.#connector?.close()
    this.#connector = undefined
  }

  /** Resolves when every server is connected, or after `milliseconds`. */
  async allUp(milliseconds: number): Promise<void> {
    const deadline = performance.now() + milliseconds
    const { servers } = this.#options
    while (servers.some(({ up }) => !up) && performance.now() < deadline) await Bun.sleep(POLL_INTERVAL)
  }

  /** Gives up servers that have been away for too long. To be called now and then. */
  sweep(): void {
    const { servers, config, log } = this.#options
    const now = performance.now()
    for (const server of servers) {
      if (server.goneSince === undefined || now - server.goneSince < config.limits.serverTimeout) continue
      server.giveUp()
      log('errors', { event: 'server-given-up', server: server.name, connections: server.connections })
      this.#lost(server, 'the server is gone')
    }
  }

  #unavailable(name: string, error: ControlError): void {
    const cause = error.reason === 'unreachable' ? this.#sourceProblem(name) : undefined
    const reason = cause === undefined ? error.message : `${error.message}; ${cause}`
    this.#options.log('info', { event: 'server-unavailable', server: name, reason })
  }

  #sourceProblem(name: string): string | undefined {
    const { config, log } = this.#options
    const control = config.servers.find((server) => server.name === name)?.control
    try {
      return control && sourceProblem(control.address, config.service)
    } catch (error) {
      log('errors', { event: 'error', step: 'route', error: errorText(error) })
      return undefined
    }
  }

  #receive(channel: ControlChannel, message: ControlMessage): void {
    const { steering, moves, recovery, coordinator } = this.#options
    switch (message.type) {
      case 'ended':
        steering.told(channel.host, message.flow, message)
        return
      case 'yield':
        moves.yielded(channel, message)
        return
      case 'report':
        recovery.reported(this.#server(channel.host), message)
        return
      default:
        coordinator.receive(channel, message)
    }
  }

  #up(channel: ControlChannel, hello: HelloMessage): void {
    const { coordinator, recovery, journal, log } = this.#options
    const server = this.#server(channel.host)
    const restarted = server.connected(channel, hello)
    if (server.objection !== undefined)
      log('errors', { event: 'server-unusable', server: server.name, reason: server.objection })
    log('info', { event: 'server-up', server: server.name })
    journal.tell({ type: 'server-up', server: server.name })
    if (restarted) this.#lost(server, 'the server has started anew')
    coordinator.channelUp(channel)
    recovery.audit(server)
  }

  #down(channel: ControlChannel, reason: Error): void {
    const { coordinator, journal, log } = this.#options
    this.#server(channel.host).disconnected()
    coordinator.channelLost(channel)
    log('info', { event: 'server-down', server: channel.host, reason: reason.message })
    journal.tell({ type: 'server-down', server: channel.host })
  }

  /** Its process took its connections with it. */
  #lost(server: Server, text: string): void {
    const { coordinator, steering } = this.#options
    const channel = server.destination?.channel
    if (channel !== undefined) coordinator.targetLost(channel, text)
    steering.forgetServer(server)
  }

  #server(name: string): Server {
    const server = this.#options.servers.find((candidate) => candidate.name === name)
    if (server === undefined) throw new XoffloadError('UNKNOWN_SERVER', `no server ${name} is configured`)
    return server
  }
}
