import {
  type Application,
  type Arrival,
  type ErrorListener,
  type FlowKey,
  HandoffOrigin,
  HandoffTarget,
  type MacAddress,
  type Redirector,
  serviceFilter,
} from '@xoffload/core'
import { decodeInterruptedResponse, HttpServer, type InterruptedResponse } from '@xoffload/proxy-adapters/bun'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { parseEndpoint } from '../config/endpoint.ts'
import type { ServerConfig } from '../config/index.ts'
import {
  type ControlChannel,
  type ControlCredentials,
  ControlListener,
  type ControlMessage,
  readCredentials,
} from '../control/index.ts'
import { channelLimits } from '../runtime/channel-limits.ts'
import { systemClock } from '../runtime/clock.ts'
import { deviceMac } from '../runtime/device.ts'
import { helloOf } from '../runtime/hello.ts'
import { removeLeftoverRules } from '../runtime/leftover-rules.ts'
import { errorText, jsonLog, type Log } from '../runtime/log.ts'
import { type RestoredSocket, socketRestorer } from '../runtime/restored-socket.ts'
import { runAll } from '../runtime/run-all.ts'
import { type FetchHandler, type LoadedApplication, loadApplication, loadBelongsHere } from './application.ts'
import { ArrivalJournal } from './arrival-journal.ts'
import { Audits } from './audits.ts'
import { FlowWatch } from './flow-watch.ts'
import { RecentEnds } from './recent-ends.ts'
import { sendReport } from './report.ts'
import { type BelongsHere, ServedConnections } from './served-connections.ts'
import { ServerProgram } from './server-program.ts'
import { ServiceAddresses } from './service-address.ts'
import { Tunnel } from './tunnel.ts'

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
  /** Whether a request is to be answered here, instead of the configured module. Of no use together with `application`. */
  readonly belongsHere?: BelongsHere
}

/** A host that connections are handed to: restores them and gives them to its application. */
export class ServerAgent {
  readonly #config: ServerConfig
  readonly #log: Log
  readonly #ends = new RecentEnds()
  readonly #audits = new Audits((gateway, nonce) => this.#report(gateway, nonce))
  #http: HttpServer | undefined
  #program: ServerProgram | undefined
  #journal: ArrivalJournal | undefined
  #redirector: Redirector | undefined
  #addresses: ServiceAddresses | undefined
  #tunnel: Tunnel | undefined
  #watch: FlowWatch | undefined
  #target: HandoffTarget<RestoredSocket> | undefined
  #origin: HandoffOrigin | undefined
  #served: ServedConnections | undefined
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
    const { device, services, limits, control, moves, tunnel } = this.#config
    const credentials = await readCredentials(control)
    const loaded = await this.#load(options)
    const belongsHere =
      options.belongsHere ?? (moves.module === undefined ? undefined : await loadBelongsHere(moves.module))
    const onError = (error: unknown, { flow, step }: { flow?: FlowKey; step: string }): void =>
      this.#log('errors', { event: 'error', flow, step, error: errorText(error) })
    const own = new TcRedirector({ device, capacity: limits.flows })
    const redirector = options.redirector ?? own
    this.#redirector = redirector
    // The device is for one process. Until it is this one's, what an agent before may have left is not to be touched: it may be at work.
    await redirector.open()
    this.#journal = this.#openJournal(options, onError)
    if (tunnel !== undefined) this.#tunnel = Tunnel.open(tunnel, device)
    if (tunnel !== undefined && redirector === own) own.addTunnel(tunnel.name)
    const leftover = await removeLeftoverRules(redirector)
    if (leftover > 0) this.#log('info', { event: 'leftover-rules-removed', count: leftover })
    const adopt = this.#journal?.continues ?? false
    this.#addresses = ServiceAddresses.setUp({ device, addresses: services.map(({ address }) => address), adopt })
    const watch = new FlowWatch((arrival) => this.#flowEnded(arrival), this.#journal)
    this.#watch = watch
    if (watch.size > 0) this.#log('info', { event: 'connections-found', count: watch.size })
    const origin = new HandoffOrigin({ redirector, clock: systemClock, onError })
    this.#origin = origin
    this.#served = new ServedConnections({
      origin,
      log: this.#log,
      channelTo: (gateway) => this.#channelTo(gateway),
      wayBack: (channel) => this.#wayBack(channel),
      requests: moves.requests,
      belongsHere,
      given: (cookie) => watch.forget(cookie),
    })
    const application = options.application ?? (await this.#serve(loaded, this.#served))
    const serves = serviceFilter(services)
    this.#target = new HandoffTarget<RestoredSocket>({
      redirector,
      restorer: socketRestorer,
      application: {
        adopt: (connection, data, arrival) => {
          // Watched before the application can close it.
          watch.add(connection.cookie, arrival)
          return application.adopt(connection, data, arrival)
        },
        revoke: (arrival) => application.revoke?.(arrival),
      },
      clock: systemClock,
      // One gateway must not hold the packets of another's connection.
      authorise: (flow, gateway) => serves(flow) && (watch.gatewayOf(flow) ?? gateway) === gateway,
      refuse: (data) => this.#program?.refuses(data),
      supersede: (flow) => origin.supersede(flow),
      maximumHandoffs: limits.handoffs,
      maximumBytes: limits.offeredBytes,
      limits: { prepared: limits.preparedTimeout, adopt: limits.adoptTimeout },
      onError,
    })
    this.#listen(credentials)
  }

  #listen(credentials: ControlCredentials): void {
    const { name, device, limits } = this.#config
    this.#listener = new ControlListener({
      listen: this.#config.control.listen,
      credentials,
      peers: this.#config.control.gateways,
      limits: channelLimits(limits),
      hello: {
        ...helloOf({ host: name, mac: deviceMac(device), maximumHandoffs: limits.handoffs }),
        ...(this.#tunnel && { tunnel: this.#tunnel.target }),
        // What an earlier process knew is known: its connections are not given up.
        ...(this.#journal !== undefined && { instance: this.#journal.instance }),
      },
      onUp: (channel) => {
        this.#log('info', { event: 'gateway-up', gateway: channel.host })
        for (const arrival of this.#ends.of(channel.host)) this.#sendEnd(channel, arrival)
      },
      onMessage: (channel, message) => this.#receive(channel, message),
      onDown: (channel, reason) =>
        this.#log('info', { event: 'gateway-down', gateway: channel.host, reason: reason.message }),
      onThrottled: ({ host }) => this.#log('errors', { event: 'control-throttled', gateway: host }),
      onRefused: (remote, reason) => this.#log('info', { event: 'control-refused', remote, reason: reason.message }),
    })
  }

  #receive(channel: ControlChannel, message: ControlMessage): void {
    switch (message.type) {
      case 'recall':
        this.#served?.recall(channel.host, message)
        return
      case 'keep':
        this.#served?.keep(channel.host, message)
        return
      case 'take':
        this.#served?.take(channel, message)
        return
      case 'audit':
        this.#audits.asked(channel.host, message.nonce)
        return
      default:
        // An abort is for whoever has the handoff.
        if (!this.#origin?.receive(channel, message)) this.#target?.receive(channel, message)
    }
  }

  #report(gateway: string, nonce: number): void {
    const channel = this.#channelTo(gateway)
    // It asks again when it has connected again.
    if (channel === undefined) return
    try {
      sendReport(channel, nonce, {
        owned: this.#watch?.arrivals ?? [],
        prepared: this.#target?.prepared(gateway) ?? [],
        offered: this.#origin?.offered(gateway) ?? [],
      })
    } catch (error) {
      // The gateway asks again.
      this.#log('info', { event: 'not-sent', message: 'report', reason: errorText(error) })
    }
  }

  /** Where packets go that are the gateway's to deal with. A gateway in another subnet is reached through a router. */
  #wayBack({ hello, remote }: ControlChannel): MacAddress | undefined {
    const endpoint = remote === undefined ? undefined : parseEndpoint(remote)
    return (endpoint && this.#tunnel?.towards(endpoint.address)) ?? hello?.mac
  }

  #channelTo(gateway: string): ControlChannel | undefined {
    const channel = this.#listener?.channels.get(gateway)
    return channel?.connected ? channel : undefined
  }

  /** The application that is to answer requests, unless the caller or a server program takes the connections. */
  async #load(options: ServerAgentOptions): Promise<LoadedApplication | undefined> {
    const { module } = this.#config.application
    if (options.application !== undefined) return undefined
    if (options.fetch !== undefined) return { fetch: options.fetch }
    return module === undefined ? undefined : await loadApplication(module)
  }

  /** Connections that a server program has outlive this process. */
  #openJournal({ application, fetch }: ServerAgentOptions, onError: ErrorListener): ArrivalJournal | undefined {
    const { program } = this.#config.application
    if (program === undefined || application !== undefined || fetch !== undefined) return undefined
    return ArrivalJournal.open(`${program.socket}.connections`, (error) => onError(error, { step: 'journal' }))
  }

  async #serve(loaded: LoadedApplication | undefined, served: ServedConnections): Promise<Application<RestoredSocket>> {
    const { program } = this.#config.application
    if (loaded !== undefined || program === undefined) return this.#serveHttp(loaded as LoadedApplication, served)
    const { adoptTimeout, handoffs } = this.#config.limits
    const options = { config: program, log: this.#log, adoptTimeout, maximumWaiting: handoffs }
    this.#program = await ServerProgram.start(options)
    return this.#program.application(served)
  }

  async #serveHttp(loaded: LoadedApplication, served: ServedConnections): Promise<Application<RestoredSocket>> {
    const { listen } = this.#config.application
    const http = new HttpServer(loaded)
    this.#http = http
    if (listen !== undefined) await http.listen({ hostname: listen.address, port: listen.port })
    return {
      adopt: (connection, data, arrival) => {
        const { cookie, unsent, flow } = connection
        const response = interruptedResponse(data)
        served.add(arrival, cookie, ({ servesUnasked: _, ...hooks }) =>
          connection.give((fd) =>
            http.adopt(fd, { unsent, client: flow.client, ...(response && { response }), ...hooks }),
          ),
        )
      },
      revoke: (arrival) => served.revoke(arrival),
    }
  }

  #flowEnded(arrival: Arrival): void {
    const channel = this.#channelTo(arrival.host)
    this.#ends.add(arrival, channel !== undefined)
    if (channel !== undefined) this.#sendEnd(channel, arrival)
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
      () => this.#audits.close(),
      // No more connections; those that wait for their commit are given back.
      () => this.#target?.close(),
      () => this.#served?.close(),
      () => this.#origin?.close(),
      // While the service address is still there, so that the clients hear of it, and the channels, so that the gateways do.
      () => this.#stopHttp(),
      () => this.#program?.close(),
      () => this.#watch?.settled(SETTLE_TIMEOUT),
      () => this.#listener?.close(),
      () => this.#watch?.close(),
      () => this.#leave(),
      () => this.#redirector?.close(),
    ])
  }

  /** What a server program has goes on, at the service address; the next process takes care of it. */
  #leave(): void {
    const count = this.#journal?.arrivals.size ?? 0
    this.#journal?.close()
    this.#tunnel?.close({ leave: count > 0 })
    if (count === 0) this.#addresses?.undo()
    else this.#log('info', { event: 'connections-left', count })
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

/** What the application at the origin has sent along, which is overwritten. Throws a CodecError. */
function interruptedResponse(data: Uint8Array): InterruptedResponse | undefined {
  try {
    return data.length === 0 ? undefined : decodeInterruptedResponse(data)
  } finally {
    data.fill(0)
  }
}
