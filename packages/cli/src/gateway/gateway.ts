import {
  type Endpoint,
  type FlowKey,
  HandoffOrigin,
  type HandoffOutcome,
  type HelloMessage,
  type Redirector,
  type ServerSelector,
  XoffloadError,
} from '@xoffload/core'
import type { RequestHead } from '@xoffload/proxy-adapters/http'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import type { TCPSocketListener } from 'bun'
import type { GatewayConfig } from '../config/index.ts'
import { type ControlChannel, ControlConnector, type ControlMessage, readCredentials } from '../control/index.ts'
import { channelLimits } from '../runtime/channel-limits.ts'
import { systemClock } from '../runtime/clock.ts'
import { deviceMac } from '../runtime/device.ts'
import { helloOf } from '../runtime/hello.ts'
import { removeLeftoverRules } from '../runtime/leftover-rules.ts'
import { errorText, jsonLog, type Log } from '../runtime/log.ts'
import { runAll } from '../runtime/run-all.ts'
import { ClientConnection } from './client-connection.ts'
import { type FlowEntry, FlowTable } from './flow-table.ts'
import { createSelector } from './selector.ts'
import { type Candidate, Server } from './server.ts'

/** How long the rule of an ended connection catches late packets, in milliseconds. */
const LINGER = 1000
/** How often time limits of client connections are looked at, in milliseconds. */
const SWEEP_INTERVAL = 250
const NO_APPLICATION_DATA = new Uint8Array()

/** What a caller may bring along instead of what the configuration describes. */
export interface GatewayOptions {
  readonly log?: Log
  /** Default: a `TcRedirector` on the configured device. */
  readonly redirector?: Redirector
  readonly selector?: ServerSelector
}

/**
 * The host at which client packets arrive: accepts connections, reads the first request's head, selects a server and hands the
 * connection over, or relays it when that is impossible.
 */
export class Gateway {
  readonly #config: GatewayConfig
  readonly #log: Log
  readonly #redirector: Redirector
  readonly #selector: ServerSelector
  readonly #servers: readonly Server[]
  readonly #targets: readonly Candidate[]
  readonly #relays: readonly Candidate[]
  readonly #flows = new FlowTable()
  readonly #epoch = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
  readonly #connections = new Set<ClientConnection>()
  readonly #origin: HandoffOrigin
  #connector: ControlConnector | undefined
  #listeners: TCPSocketListener<ClientConnection>[] = []
  #sweeper: ReturnType<typeof setInterval> | undefined
  #closed: Promise<void> | undefined

  private constructor(config: GatewayConfig, options: GatewayOptions, selector: ServerSelector) {
    this.#config = config
    this.#log = options.log ?? jsonLog(config.log)
    this.#selector = selector
    this.#redirector = options.redirector ?? new TcRedirector({ device: config.device, capacity: config.limits.flows })
    this.#servers = config.servers.map(({ name, proxy }) => new Server(name, proxy))
    this.#targets = this.#servers.map((server) => server.asTarget())
    this.#relays = this.#servers.map((server) => server.asRelay())
    this.#origin = new HandoffOrigin({
      redirector: this.#redirector,
      clock: systemClock,
      epoch: this.#epoch,
      maximumHandoffs: config.limits.handoffs,
      limits: { accept: config.limits.acceptTimeout, commit: config.limits.commitTimeout, grace: config.limits.grace },
      onError: (error, { flow, step }) => this.#log('errors', { event: 'error', flow, step, error: errorText(error) }),
    })
  }

  /**
   * Takes the device, connects to the servers and listens. Rejects with a typed error, and leaves nothing behind, when one of them
   * is impossible; a server that cannot be reached is no error: it is tried again and again.
   */
  static async start(config: GatewayConfig, options: GatewayOptions = {}): Promise<Gateway> {
    const selector = options.selector ?? (await createSelector(config.selection))
    const gateway = new Gateway(config, options, selector)
    try {
      await gateway.#open()
    } catch (error) {
      await runAll([() => gateway.close()], error)
    }
    return gateway
  }

  /** Stops listening, ends relayed connections, and gives the device back. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #open(): Promise<void> {
    // The device comes last: what is wrong with the rest shows before a rule is touched.
    const credentials = await readCredentials(this.#config.control)
    const mac = deviceMac(this.#config.device)
    await this.#redirector.open()
    const leftover = await removeLeftoverRules(this.#redirector)
    if (leftover > 0) this.#log('info', { event: 'leftover-rules-removed', count: leftover })
    this.#connector = new ControlConnector({
      peers: this.#config.servers.map(({ name, control }) => ({ name, endpoint: control })),
      credentials,
      limits: channelLimits(this.#config.limits.snapshotBytes),
      hello: helloOf({ host: this.#config.name, mac, maximumHandoffs: 0 }),
      onUp: (channel, hello) => this.#serverUp(channel, hello),
      onMessage: (channel, message) => this.#receive(channel, message),
      onDown: (channel, reason) => {
        this.#origin.channelLost(channel)
        this.#log('info', { event: 'server-down', server: channel.host, reason: reason.message })
      },
      onUnavailable: (peer, reason) =>
        this.#log('info', { event: 'server-unavailable', server: peer, reason: reason.message }),
    })
    for (const endpoint of this.#config.service) this.#listen(endpoint)
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL)
  }

  #listen({ address: hostname, port }: Endpoint): void {
    const owner = {
      headBytes: this.#config.limits.headBytes,
      requested: (connection: ClientConnection, head: RequestHead) => this.#requested(connection, head),
      closed: (connection: ClientConnection) => this.#connections.delete(connection),
    }
    try {
      const listener = Bun.listen<ClientConnection>({
        hostname,
        port,
        exclusive: true,
        allowHalfOpen: true,
        socket: {
          open: (socket) => {
            socket.data = new ClientConnection(owner, socket, this.#config.limits.headTimeout)
            if (this.#connections.size >= this.#config.limits.connections) socket.terminate()
            else this.#connections.add(socket.data)
          },
          data: (socket, chunk) => socket.data.data(chunk),
          drain: (socket) => socket.data.drain(),
          end: (socket) => socket.data.end(),
          close: (socket) => socket.data.close(),
          // Bun reports what a callback throws here too, and leaves the socket open.
          error: (socket, error) => this.#broken(socket.data, error),
        },
      })
      this.#listeners.push(listener)
    } catch (cause) {
      throw new XoffloadError(
        'LISTEN',
        `cannot listen on ${hostname} port ${port}: ${errorText(cause)}; the service address must be one of this host's`,
        { cause },
      )
    }
  }

  #server(name: string): Server {
    const server = this.#servers.find((candidate) => candidate.name === name)
    if (server === undefined) throw new XoffloadError('UNKNOWN_SERVER', `no server ${name} is configured`)
    return server
  }

  #broken(connection: ClientConnection, error: unknown): void {
    this.#log('info', { event: 'connection-error', client: connection.client.address, error: errorText(error) })
    connection.terminate()
  }

  #requested(connection: ClientConnection, head: RequestHead): void {
    const request = {
      method: head.method,
      target: head.target,
      header: (name: string) => head.headers.get(name),
      client: connection.client,
    }
    try {
      const server = this.#selector(request, this.#targets)?.server
      if (server === undefined) this.#relay(connection, this.#selector(request, this.#relays)?.server)
      else this.#handOff(connection, server).catch((error) => this.#broken(connection, error))
    } catch (error) {
      this.#log('errors', { event: 'error', step: 'select', error: errorText(error) })
      connection.refuse(503, 'no server could be selected')
    }
  }

  async #handOff(connection: ClientConnection, server: Server): Promise<void> {
    const { destination } = server
    if (destination === undefined) {
      this.#relay(connection, server)
      return
    }
    const origin = connection.originate()
    const entry = this.#flows.begin(origin.flow, server)
    const outcome = await this.#origin.handOff(origin, destination, NO_APPLICATION_DATA)
    this.#report(entry, outcome)
    if (outcome.result === 'handed-off') {
      connection.handedOff()
      entry.state = 'steered'
      entry.handoff = outcome.handoff
      if (entry.earlyEnd?.handoff === outcome.handoff) this.#ended(entry)
      return
    }
    this.#flows.delete(entry)
    if (outcome.result === 'rolled-back') this.#relay(connection, server)
  }

  #relay(connection: ClientConnection, server: Server | undefined): void {
    if (server?.proxy === undefined) connection.refuse(503, 'no server is available')
    else connection.relay(server)
  }

  #receive(channel: ControlChannel, message: ControlMessage): void {
    if (message.type !== 'ended') {
      this.#origin.receive(channel, message)
      return
    }
    const entry = this.#flows.get(message.flow)
    // Said of an earlier connection with the same 4-tuple, or of one that an earlier process of this gateway handed over.
    if (entry === undefined || entry.server.name !== channel.host || message.epoch !== this.#epoch) return
    if (entry.state === 'moving') entry.earlyEnd = message
    else if (entry.state === 'steered' && entry.handoff === message.handoff) this.#ended(entry)
  }

  #serverUp(channel: ControlChannel, hello: HelloMessage): void {
    const server = this.#server(channel.host)
    const restarted = server.connected(channel, hello)
    this.#log('info', { event: 'server-up', server: server.name })
    this.#origin.channelUp(channel)
    if (!restarted) return
    // Its earlier process took its connections with it: without a rule their clients learn so from this host's RST.
    for (const entry of this.#flows.of(server)) if (entry.state === 'steered') this.#forget(entry)
  }

  /** The connection has ended: its rule stays for a while, for late packets. */
  #ended(entry: FlowEntry): void {
    const { flow, server } = entry
    const steer = server.destination?.steer
    if (steer === undefined) return
    entry.state = 'ended'
    this.#origin.ended(flow)
    this.#run(this.#redirector.put({ action: 'steer', flow, target: steer, ended: true }), flow, 'mark as ended')
    systemClock.after(LINGER, () => this.#forget(entry))
  }

  #forget(entry: FlowEntry): void {
    if (this.#flows.delete(entry)) this.#run(this.#redirector.remove(entry.flow), entry.flow, 'remove')
  }

  #run(operation: Promise<unknown>, flow: FlowKey, step: string): void {
    operation.catch((error) => this.#log('errors', { event: 'error', flow, step, error: errorText(error) }))
  }

  #report({ flow, server }: FlowEntry, { result, failure, times }: HandoffOutcome): void {
    const level = result === 'handed-off' ? 'handoffs' : result === 'lost' ? 'errors' : 'info'
    this.#log(level, {
      event: 'handoff',
      flow,
      server: server.name,
      outcome: result,
      ...(failure && { failure }),
      steps: times,
    })
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections) {
      if (connection.deadline !== undefined && connection.deadline <= now) connection.expire()
    }
  }

  #close(): Promise<void> {
    clearInterval(this.#sweeper)
    return runAll([
      () => {
        for (const listener of this.#listeners) listener.stop()
      },
      () => this.#origin.close(),
      () => this.#connector?.close(),
      () => {
        for (const connection of this.#connections) connection.terminate()
      },
      () => this.#redirector.close(),
    ])
  }
}
