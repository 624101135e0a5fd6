import { type Application, type Arrival, type FlowKey, HandoffTarget, type Redirector } from '@xoffload/core'
import { HttpServer } from '@xoffload/proxy-adapters/bun'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { ServerConfig } from '../config/index.ts'
import { type ControlChannel, type ControlCredentials, ControlListener, readCredentials } from '../control/index.ts'
import { channelLimits } from '../runtime/channel-limits.ts'
import { systemClock } from '../runtime/clock.ts'
import { deviceMac } from '../runtime/device.ts'
import { helloOf } from '../runtime/hello.ts'
import { removeLeftoverRules } from '../runtime/leftover-rules.ts'
import { errorText, jsonLog, type Log } from '../runtime/log.ts'
import { runAll } from '../runtime/run-all.ts'
import { type FetchHandler, loadApplication } from './application.ts'
import { FlowWatch } from './flow-watch.ts'
import { RecentEnds } from './recent-ends.ts'
import { type RestoredSocket, socketRestorer } from './restored-socket.ts'
import { ServiceAddresses } from './service-address.ts'

/** How long responses that are under way may take when the agent stops, in milliseconds. */
const STOP_TIMEOUT = 2000
/** How long the kernel may take to announce the ends of connections that were closed, in milliseconds. */
const SETTLE_TIMEOUT = 500

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
  readonly #ends = new RecentEnds()
  #http: HttpServer | undefined
  #redirector: Redirector | undefined
  #addresses: ServiceAddresses | undefined
  #watch: FlowWatch | undefined
  #target: HandoffTarget<RestoredSocket> | undefined
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
      await runAll([() => agent.close()], error)
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
    this.#redirector = redirector
    await redirector.open()
    const leftover = await removeLeftoverRules(redirector)
    if (leftover > 0) this.#log('info', { event: 'leftover-rules-removed', count: leftover })
    this.#addresses = ServiceAddresses.setUp({ device, addresses: services.map(({ address }) => address) })
    const watch = new FlowWatch((arrival) => this.#flowEnded(arrival))
    this.#watch = watch
    const target = new HandoffTarget<RestoredSocket>({
      redirector,
      restorer: socketRestorer,
      application: {
        adopt: (connection, data, arrival) => {
          // Watched before the application can close it.
          watch.add(connection.cookie, arrival)
          return application.adopt(connection, data, arrival)
        },
      },
      clock: systemClock,
      authorise: (flow) => this.#serves(flow),
      maximumHandoffs: limits.handoffs,
      limits: { prepared: limits.preparedTimeout, adopt: limits.adoptTimeout },
      onError: (error, { flow, step }) => this.#log('errors', { event: 'error', flow, step, error: errorText(error) }),
    })
    this.#target = target
    this.#listen(target, credentials)
  }

  #listen(target: HandoffTarget<RestoredSocket>, credentials: ControlCredentials): void {
    const { name, device, limits } = this.#config
    this.#listener = new ControlListener({
      listen: this.#config.control.listen,
      credentials,
      peers: this.#config.control.gateways,
      limits: channelLimits(limits.snapshotBytes),
      hello: helloOf({ host: name, mac: deviceMac(device), maximumHandoffs: limits.handoffs }),
      onUp: (channel) => {
        this.#log('info', { event: 'gateway-up', gateway: channel.host })
        for (const arrival of this.#ends.of(channel.host)) this.#sendEnd(channel, arrival)
      },
      onMessage: (channel, message) => void target.receive(channel, message),
      onDown: (channel, reason) =>
        this.#log('info', { event: 'gateway-down', gateway: channel.host, reason: reason.message }),
      onRefused: (remote, reason) => this.#log('info', { event: 'control-refused', remote, reason: reason.message }),
    })
  }

  async #serveHttp(fetch: FetchHandler | undefined): Promise<Application<RestoredSocket>> {
    const { module, listen } = this.#config.application
    const http = new HttpServer({ fetch: fetch ?? (await loadApplication(module)) })
    this.#http = http
    if (listen !== undefined) await http.listen({ hostname: listen.address, port: listen.port })
    return {
      adopt: (connection) =>
        connection.give((fd) => http.adopt(fd, { unsent: connection.unsent, client: connection.flow.client })),
    }
  }

  #serves({ service }: FlowKey): boolean {
    return this.#config.services.some(({ address, port }) => port === service.port && address === service.address)
  }

  #flowEnded(arrival: Arrival): void {
    const channel = this.#listener?.channels.get(arrival.host)
    this.#ends.add(arrival, channel?.connected ?? false)
    if (channel?.connected) this.#sendEnd(channel, arrival)
  }

  #sendEnd(channel: ControlChannel, { flow, handoff, epoch }: Arrival): void {
    try {
      channel.send({ type: 'ended', flow, handoff, epoch })
    } catch (error) {
      // The channel is full or just broke. The end is sent again when it is back.
      this.#log('errors', { event: 'error', flow, step: 'tell the end', error: errorText(error) })
    }
  }

  #close(): Promise<void> {
    return runAll([
      // No more connections; those that wait for their commit are given back.
      () => this.#target?.close(),
      // While the service address is still there, so that the clients hear of it, and the channels, so that the gateways do.
      () => this.#stopHttp(),
      () => this.#watch?.settled(SETTLE_TIMEOUT),
      () => this.#listener?.close(),
      () => this.#watch?.close(),
      () => this.#addresses?.undo(),
      () => this.#redirector?.close(),
    ])
  }

  /** Lets responses that are under way end, for a while. */
  async #stopHttp(): Promise<void> {
    const http = this.#http
    if (http === undefined) return
    const late = setTimeout(() => void http.stop(true), STOP_TIMEOUT)
    await http.stop()
    clearTimeout(late)
  }
}
