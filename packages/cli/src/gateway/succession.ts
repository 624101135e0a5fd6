import { type HandoffCoordinator, type Redirector, XoffloadError } from '@xoffload/core'
import { readSysctl, writeSysctl } from '@xoffload/linux'
import type { ControlCredentials } from '../control/index.ts'
import { errorText, type Log } from '../runtime/log.ts'
import type { Clients } from './clients.ts'
import type { Moves } from './moves.ts'
import type { NginxFront } from './nginx-front.ts'
import { type Owner, Ownership, type Predecessor } from './ownership.ts'
import type { Requests } from './requests.ts'
import type { ServerChannels } from './server-channels.ts'
import type { Steering } from './steering.ts'

const MIGRATION = 'ipv4/tcp_migrate_req'

/** A process that was started to take over. */
export interface Successor {
  readonly pid: number
  /** Resolves when it has ended. */
  readonly exited: Promise<unknown>
}

/** What goes from one process to the next, or is to end with one. */
export interface SuccessionOptions {
  readonly device: string
  readonly redirector: Redirector
  readonly coordinator: HandoffCoordinator
  readonly steering: Steering
  readonly channels: ServerChannels
  readonly clients: Clients
  readonly nginx: NginxFront | undefined
  readonly requests: Requests
  readonly moves: Moves
  readonly log: Log
  readonly spawnSuccessor: (() => Successor) | undefined
  readonly credentials: () => Promise<ControlCredentials>
  /** Ends what only one process can do: the control API. */
  readonly retiring: () => Promise<void>
  /** Does what is done now and then, or does not. */
  readonly sweeping: (on: boolean) => void
}

/**
 * How one gateway process follows another without closing a connection. The rules in the kernel carry the steered flows all the while.
 * The old process lets its handoffs come to their end, then gives device and control channels up; the new one adopts the rules, connects
 * and listens; then the old one stops listening, and relays the connections that are still in its hands to their end.
 */
export class Succession implements Owner {
  readonly #options: SuccessionOptions
  readonly #replaced = Promise.withResolvers<void>()
  readonly #retired = Promise.withResolvers<void>()
  #ownership: Ownership | undefined
  #releasing = false

  constructor(options: SuccessionOptions) {
    this.#options = options
  }

  /** Resolves when another process has taken over and the connections that were left here have ended. */
  get retired(): Promise<void> {
    return this.#retired.promise
  }

  /** Claims the device. Throws {@link XoffloadError} `RUNNING` when another process has it. */
  claim(): void {
    this.#ownership = Ownership.claim(this.#options.device, this)
  }

  /** This process listens: the one before it stops, and its name goes over. */
  async follow(predecessor: Predecessor): Promise<void> {
    const restore = this.#letConnectionsMigrate()
    try {
      await predecessor.retire()
    } catch (error) {
      // It is gone, or it has the name still: then the next step fails.
      this.#options.log('errors', { event: 'error', step: 'retire', error: errorText(error) })
    } finally {
      restore()
    }
    this.#ownership = await Ownership.succeed(this.#options.device, this)
  }

  /** Connections that wait in a listener which is closed go to another one (tcp_migrate_req in ip-sysctl.rst, Linux 5.14). */
  #letConnectionsMigrate(): () => void {
    try {
      const before = readSysctl(MIGRATION)
      writeSysctl(MIGRATION, '1')
      return () => writeSysctl(MIGRATION, before)
    } catch (error) {
      this.#options.log('info', { event: 'no-migration', reason: errorText(error) })
      return () => {}
    }
  }

  close(): void {
    this.#ownership?.close()
  }

  async release(): Promise<void> {
    const { requests, nginx, moves, sweeping, coordinator, channels, steering, redirector, log } = this.#options
    if (this.#releasing) throw new XoffloadError('UPGRADE', 'another process is taking over already')
    this.#releasing = true
    requests.pause()
    nginx?.pause()
    moves.paused = true
    sweeping(false)
    try {
      await coordinator.settle()
      channels.close()
      steering.released = true
      await redirector.release()
    } catch (error) {
      await this.resume()
      throw error
    }
    log('info', { event: 'released' })
  }

  async resume(): Promise<void> {
    const { redirector, steering, channels, credentials, moves, sweeping, requests, nginx, log } = this.#options
    try {
      await redirector.open()
      steering.released = false
      channels.open(await credentials().catch(() => channels.credentials))
    } catch (error) {
      // It goes on without handing off: every connection is relayed.
      log('errors', { event: 'error', step: 'resume', error: errorText(error) })
    }
    this.#releasing = false
    moves.paused = false
    sweeping(true)
    requests.resume({ relayOnly: false })
    nginx?.resume()
    log('info', { event: 'resumed' })
  }

  async retire(): Promise<void> {
    const { clients, nginx, requests, retiring, log } = this.#options
    this.#ownership?.stopListening()
    clients.stopListening()
    requests.resume({ relayOnly: true })
    log('info', { event: 'retired', connections: clients.size })
    // The new process needs the socket's path; until it listens there nginx proxies.
    await nginx?.close()
    await retiring()
    this.#replaced.resolve()
    clients.emptied().then(this.#retired.resolve, this.#retired.reject)
  }

  async upgrade(): Promise<number> {
    const { spawnSuccessor } = this.#options
    if (spawnSuccessor === undefined) throw new XoffloadError('UPGRADE', 'this process cannot start another')
    const { pid, exited } = spawnSuccessor()
    const failed = exited.then(() => {
      throw new XoffloadError('UPGRADE', 'the new process has ended before it took over: its output says why')
    })
    await Promise.race([this.#replaced.promise, failed])
    return pid
  }
}
