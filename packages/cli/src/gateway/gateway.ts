import {
  type ErrorListener,
  HandoffCoordinator,
  LocalTarget,
  type Redirector,
  type ServerSelector,
  serviceFilter,
} from '@xoffload/core'
import { type ApiServer, serveApi } from '../api/index.ts'
import type { GatewayConfig } from '../config/index.ts'
import { readCredentials } from '../control/index.ts'
import { systemClock } from '../runtime/clock.ts'
import { deviceMac } from '../runtime/device.ts'
import { errorText, jsonLog, type Log } from '../runtime/log.ts'
import { requireNoHardwareRules } from '../runtime/redirector.ts'
import { socketRestorer } from '../runtime/restored-socket.ts'
import { runAll } from '../runtime/run-all.ts'
import { Clients } from './clients.ts'
import { FlowTable } from './flow-table.ts'
import { Handoffs } from './handoffs.ts'
import { Journal } from './journal.ts'
import { Moves } from './moves.ts'
import { type NginxFront, nginxFront } from './nginx-front.ts'
import type { GatewayOperations, HeldPacketCounts } from './operations.ts'
import { Operator } from './operator.ts'
import { Predecessor } from './ownership.ts'
import { Recovery } from './recovery.ts'
import { redirectorOf } from './redirector-of.ts'
import { Requests } from './requests.ts'
import { segmentSizeFor } from './segment-size.ts'
import { Selection } from './selection.ts'
import { createSelector } from './selector.ts'
import { Server } from './server.ts'
import { ServerChannels } from './server-channels.ts'
import { Steering } from './steering.ts'
import { Succession, type Successor } from './succession.ts'

/** How often what has a time limit is looked at, in milliseconds. */
const SWEEP_INTERVAL = 250
/** How long a process that takes over waits for its servers before it listens, in milliseconds. */
const CONNECT_TIMEOUT = 2000

/** What a caller may bring along instead of what the configuration describes. */
export interface GatewayOptions {
  readonly log?: Log
  /** Default: what the configuration says. */
  readonly redirector?: Redirector
  /** What `redirector` counts of held flows. */
  readonly heldPackets?: () => HeldPacketCounts
  readonly selector?: ServerSelector
  /** Takes over from the process that has the device, without closing a connection. Default false. */
  readonly takeOver?: boolean
  /** Starts the process that is to take over from this one. */
  readonly spawnSuccessor?: () => Successor
}

/**
 * The host at which client packets arrive: accepts connections, reads the head of a request, selects a server and hands the
 * connection over, or relays it when that is impossible. It coordinates every move of a connection, and finds those again that an earlier
 * process of this gateway has handed over.
 */
export class Gateway {
  readonly #config: GatewayConfig
  readonly #log: Log
  readonly #redirector: Redirector
  readonly #servers: readonly Server[]
  readonly #coordinator: HandoffCoordinator
  readonly #here: LocalTarget
  readonly #moves: Moves
  readonly #recovery: Recovery
  readonly #clients: Clients
  readonly #nginx: NginxFront | undefined
  readonly #channels: ServerChannels
  readonly #succession: Succession
  /** What an operator can see and order. */
  readonly operations: GatewayOperations
  #api: ApiServer | undefined
  #predecessor: Predecessor | undefined
  /** Throws when the device cannot be taken. */
  readonly #requireDevice: () => void
  #started = false
  #sweeper: ReturnType<typeof setInterval> | undefined
  #closed: Promise<void> | undefined

  private constructor(config: GatewayConfig, options: GatewayOptions, selector: ServerSelector) {
    const log = options.log ?? jsonLog(config.log)
    const servers = config.servers.map(({ name, proxy, tunnel }) => new Server(name, proxy, tunnel))
    const flows = new FlowTable()
    const journal = new Journal(log)
    const selection = new Selection(selector, servers)
    const onError: ErrorListener = (error, { flow, step }) =>
      log('errors', { event: 'error', flow, step, error: errorText(error) })
    const { redirector, heldPackets, hardware } = redirectorOf(config, options, onError)
    const { limits, name } = config
    const coordinator = new HandoffCoordinator({
      redirector,
      clock: systemClock,
      epoch: crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
      maximumHandoffs: limits.handoffs,
      limits: { accept: limits.acceptTimeout, commit: limits.commitTimeout, grace: limits.grace },
      onError,
    })
    const here = new LocalTarget(name, coordinator, {
      redirector,
      restorer: socketRestorer,
      application: { adopt: (connection) => connection.give((fd) => clients.adopt(fd, connection.unsent)) },
      clock: systemClock,
      // Refused before the commit, a connection stays where it is: it is no time to find out later that there is no room.
      authorise: (flow) => flows.get(flow)?.state === 'moving' && clients.size < limits.connections,
      maximumHandoffs: limits.handoffs,
      onError,
    })
    const steering = new Steering({ flows, redirector, coordinator, journal, log })
    const moves = new Moves({
      steering,
      selection,
      journal,
      log,
      headBytes: limits.headBytes,
      gateway: { name, destination: here.destination },
    })
    const clients: Clients = new Clients({
      log,
      limits,
      requested: (connection, head) => requests.requested(connection, head),
      unreadable: (connection, problem) => requests.unreadable(connection, problem),
      accepted: () => {
        journal.accepted++
      },
    })
    const handoffs = new Handoffs({ name, coordinator, flows, moves, journal })
    const requests = new Requests({
      selection,
      coordinator,
      handoffs,
      journal,
      log,
      broken: (connection, error) => clients.broken(connection, error),
    })
    const serves = serviceFilter(config.service)
    const recovery = new Recovery({
      steering,
      redirector,
      servers,
      journal,
      log,
      here: (flow) => clients.has(flow),
      serves,
      maximumConnections: limits.flows,
    })
    const nginx = nginxFront(config, { selection, servers, handoffs, serves, recovery, journal, log })
    const channels = new ServerChannels({ config, servers, coordinator, steering, moves, recovery, journal, log })
    this.#succession = new Succession({
      device: config.device,
      redirector,
      coordinator,
      steering,
      channels,
      clients,
      nginx,
      requests,
      moves,
      log,
      spawnSuccessor: options.spawnSuccessor,
      credentials: () => readCredentials(config.control),
      retiring: async () => await this.#api?.close(),
      sweeping: (on) => this.#sweeping(on),
    })
    this.operations = new Operator({ name, servers, steering, moves, redirector, journal, heldPackets, hardware })
    this.#config = config
    this.#requireDevice = () => {
      deviceMac(config.device)
      if (options.redirector === undefined && config.redirector.hardware === undefined)
        requireNoHardwareRules(config.device)
    }
    this.#log = log
    this.#redirector = redirector
    this.#servers = servers
    this.#coordinator = coordinator
    this.#here = here
    this.#moves = moves
    this.#recovery = recovery
    this.#clients = clients
    this.#nginx = nginx
    this.#channels = channels
  }

  /**
   * Takes the device, connects to the servers and listens. Rejects with a typed error, and leaves nothing behind, when one of them
   * is impossible; a server that cannot be reached is no error: it is tried again and again.
   */
  static async start(config: GatewayConfig, options: GatewayOptions = {}): Promise<Gateway> {
    const selector = options.selector ?? (await createSelector(config.selection))
    const gateway = new Gateway(config, options, selector)
    try {
      await gateway.#open(options.takeOver ?? false)
    } catch (error) {
      await runAll([() => gateway.close()], error)
    }
    return gateway
  }

  /** Resolves when another process has taken over and the connections that were left here have ended. */
  get retired(): Promise<void> {
    return this.#succession.retired
  }

  /** Stops listening, ends relayed connections, and gives the device back. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #open(takeOver: boolean): Promise<void> {
    const { device, control } = this.#config
    // The device comes last: what is wrong with the rest shows before a rule is touched.
    const credentials = await readCredentials(control)
    this.#nginx?.requireFolder()
    this.#requireDevice()
    const predecessor = takeOver ? await Predecessor.find(device) : undefined
    this.#predecessor = predecessor
    if (predecessor === undefined) this.#succession.claim()
    else await predecessor.release()
    await this.#redirector.open()
    await this.#recovery.adopt()
    this.#channels.open(credentials)
    // The first requests need not be relayed then.
    if (predecessor !== undefined) await this.#channels.allUp(CONNECT_TIMEOUT)
    this.#listen()
    if (predecessor !== undefined) await this.#succession.follow(predecessor)
    // Not before: the process before this one has had the socket's path.
    await this.#begin('take from nginx', takeOver, async () => await this.#nginx?.open())
    this.#started = true
    predecessor?.close()
    await this.#begin('answer a call of the API', takeOver, (onError) => this.#serveApi(takeOver, onError))
    this.#sweeping(true)
  }

  /** With nginx in front, nginx listens. */
  #listen(): void {
    const { device, servers, service, nginx } = this.#config
    if (nginx !== undefined) return
    for (const endpoint of service) {
      const family = endpoint.address.includes(':') ? 6 : 4
      this.#clients.listen(endpoint, segmentSizeFor(servers, device, family))
    }
  }

  /**
   * Begins what this process can be without when it has taken over: the one before it has ended its service already, and this one is
   * better than none.
   */
  async #begin(
    step: string,
    takeOver: boolean,
    begin: (onError: (error: unknown) => void) => Promise<void>,
  ): Promise<void> {
    const onError = (error: unknown): void => this.#log('errors', { event: 'error', step, error: errorText(error) })
    try {
      await begin(onError)
    } catch (error) {
      if (!takeOver) throw error
      onError(error)
    }
  }

  async #serveApi(takeOver: boolean, onError: (error: unknown) => void): Promise<void> {
    const { api } = this.#config
    if (api !== undefined) this.#api = await serveApi(this.operations, api, { onError, takeOver })
  }

  #sweeping(on: boolean): void {
    clearInterval(this.#sweeper)
    if (on) this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL)
  }

  #sweep(): void {
    this.#channels.sweep()
    this.#moves.sweep(this.#servers.filter(({ draining }) => draining))
    this.#recovery.sweep()
  }

  #close(): Promise<void> {
    this.#sweeping(false)
    return runAll([
      () => this.#clients.stopListening(),
      () => this.#nginx?.stopListening(),
      async () => await this.#api?.close(),
      () => this.#coordinator.close(),
      // What was in flight is answered now.
      async () => await this.#nginx?.close(),
      () => this.#here.close(),
      () => this.#channels.close(),
      () => this.#clients.close(),
      // The rules that were found are not this process's to remove until it has begun its service.
      () => (this.#started || this.#recovery.found === 0 ? this.#redirector.close() : this.#redirector.release()),
      () => this.#succession.close(),
      // It goes on as before, now that the device is free.
      () => this.#predecessor?.close(),
    ])
  }
}
