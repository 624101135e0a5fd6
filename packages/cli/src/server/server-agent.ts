import {
  type Application,
  FlowKey,
  HandoffTarget,
  type Redirector,
} from '@xoffload/core'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { ServerConfig } from '../config/index.ts'
import { type ControlCredentials, ControlListener, readCredentials } from '../control/index.ts'
import { systemClock } from '../runtime/clock.ts'
import { channelLimits } from '../runtime/channel-limits.ts'
import { deviceMac } from '../runtime/device.ts'
import { helloOf } from '../runtime/hello.ts'
import { removeLeftoverRules } from '../runtime/leftover-rules.ts'
import { errorText, jsonLog, type Log } from '../runtime/log.ts'
import { type FetchHandler, loadApplication } from './application.ts'
import { FlowWatch } from './flow-watch.ts'
import { type RestoredSocket, socketRestorer } from './restored-socket.ts'
import { ServiceAddresses } from './service-address.ts'
import { UndeliveredEnds } from './undelivered-ends.ts'

/** What a caller may bring along instead of what the configuration describes. */
export interface ServerAgentOptions {
  readonly log?: Log
  /** Default: a `TcRedirector` on the configured device. */
  readonly redirector?: Redirector
  /** Takes the connections. Default: an HTTP server for the configured application module. */
  readonly application?: Application<RestoredSocket>
  /** Answers requests instead of the configured module. Of no use together with `application`. */
  readonly fetch?: FetchHandler
}

/** A host that connections are handed to: restores them and gives them to its application. */
export class ServerAgent {
  readonly #config: ServerConfig
  readonly #log: Log
  readonly #undo: (() => void | Promise<void>)[] = []
  readonly #ends = new UndeliveredEnds()
  #listener: ControlListener | undefined
  #closed: Promise<void> | undefined

  private constructor(config: ServerConfig, options: ServerAgentOptions) {
    this.#config = config
    this.#log = options.log ?? jsonLog(config.log)
  }

  /**
   * Loads the application, sets up addresses and device, and listens for gateways. Rejects with a typed error, and leaves nothing
   * behind, when one of them is impossible.
   */
  static async start(config: ServerConfig, options: ServerAgentOptions = {}): Promise<ServerAgent> {
    const agent = new ServerAgent(config, options)
    try {
      await agent.#open(options)
    } catch (error) {
      await agent.close()
      throw error
    }
    return agent
  }

  /** Stops listening, closes the application's connections, and takes back what was set up. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #open(options: ServerAgentOptions): Promise<void> {
    const { device, services, limits, control } = this.#config
    const credentials = await readCredentials(control)
    const application = options.application ?? (await this.#serveHttp(options.fetch))
    const redirector = options.redirector ?? new TcRedirector({ device, capacity: limits.flows })
    this.#undo.push(() => redirector.close())
    await redirector.open()
    const leftover = await removeLeftoverRules(redirector)
    if (leftover > 0) this.#log('info', { event: 'leftover-rules-removed', count: leftover })
    const addresses = ServiceAddresses.setUp({ device, addresses: services.map(({ address }) => address) })
    this.#undo.push(() => addresses.undo())
    const watch = new FlowWatch((flow, host) => this.#flowEnded(flow, host))
    this.#undo.push(() => watch.close())
    const target = new HandoffTarget<RestoredSocket>({
      redirector,
      restorer: socketRestorer,
      application: {
        adopt: (connection, data, arrival) => {
          // Watched before the application can close it.
          watch.add(arrival.flow, arrival.host)
          return application.adopt(connection, data, arrival)
        },
      },
      clock: systemClock,
      authorise: (flow) => this.#serves(flow),
      maximumHandoffs: limits.handoffs,
      limits: { prepared: limits.preparedTimeout, adopt: limits.adoptTimeout },
      onError: (error, { flow, step }) => this.#log('errors', { event: 'error', ...(flow && { flow: `${flow}` }), step, error: errorText(error) }),
    })
    this.#undo.push(() => target.close())
    this.#listen(target, credentials)
  }

  #listen(target: HandoffTarget<RestoredSocket>, credentials: ControlCredentials): void {
    const { name, device, limits } = this.#config
    const listener = new ControlListener({
      listen: this.#config.control.listen,
      credentials,
      peers: this.#config.control.gateways,
      limits: channelLimits(limits.snapshotBytes),
      hello: helloOf({ host: name, mac: deviceMac(device), maximumHandoffs: limits.handoffs }),
      onUp: (channel) => {
        this.#log('info', { event: 'gateway-up', gateway: channel.host })
        for (const flow of this.#ends.take(channel.host)) channel.send({ type: 'ended', flow })
      },
      onMessage: (channel, message) => void target.receive(channel, message),
      onDown: (channel, reason) => this.#log('info', { event: 'gateway-down', gateway: channel.host, reason: reason.message }),
      onRefused: (remote, reason) => this.#log('info', { event: 'control-refused', remote, reason: reason.message }),
    })
    this.#listener = listener
    this.#undo.push(() => listener.close())
  }

  async #serveHttp(fetch: FetchHandler | undefined): Promise<Application<RestoredSocket>> {
    const { module, listen } = this.#config.application
    const http = new HttpServer({ fetch: fetch ?? (await loadApplication(module)) })
    this.#undo.push(() => http.stop(true))
    if (listen !== undefined) await http.listen({ hostname: listen.address, port: listen.port })
    return {
      adopt: (connection) => http.adopt(connection.take(), { unsent: connection.unsent, client: connection.flow.client }),
    }
  }

  #serves({ service }: FlowKey): boolean {
    return this.#config.services.some(({ address, port }) => port === service.port && address === service.address)
  }

  #flowEnded(flow: FlowKey, host: string): void {
    const channel = this.#listener?.channels.get(host)
    if (channel?.connected) channel.send({ type: 'ended', flow })
    else this.#ends.add(host, flow)
  }

  async #close(): Promise<void> {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) await step()
  }
}
