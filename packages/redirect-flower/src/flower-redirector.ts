import {
  type FlowCounters,
  type FlowKey,
  type ListedRule,
  type OperationOptions,
  type PutOutcome,
  type Redirector,
  RedirectorError,
  type RedirectorManifest,
  type Rule,
} from '@xoffload/core'
import { dumpFlower } from '@xoffload/linux'
import { DeviceFilters } from './device-filters.ts'
import { examine } from './examine.ts'
import type { FlowerConnection, FlowerKernel } from './kernel.ts'
import { filterTables } from './layout.ts'
import { linuxKernel } from './linux-kernel.ts'
import { clearDevice, type OpenDevice, openDevice } from './open-device.ts'
import { checkOptions, type FlowerRedirectorOptions } from './options.ts'
import type { FlowerHardware, FlowerProfile } from './profile.ts'
import { asRedirectorError } from './refusal.ts'
import type { FilterShape } from './rule-filter.ts'
import { listedRule, prepareRule, putRule, readCounters, removeRule } from './rule-operations.ts'
import { Turns } from './turns.ts'

/** What has happened since {@link FlowerRedirector.open}. */
export interface FlowerRedirectorStatistics {
  /** How often answers of the kernel were lost, so that the rules were read to find out what had become of the requests. */
  readonly lostAnswers: number
}

const DEFAULT_PRIORITY = 100

/**
 * Steers flows with flower filters at the ingress of a device (tc-flower(8)), executed by the NIC or by the kernel, as `hardware`
 * says. It steers what belongs to an established connection: packets with SYN, FIN or RST go to software, which must see how
 * connections begin and end; so do fragments, and the packets of flows without a rule. It neither holds packets nor discards what
 * this host says on the flow. So put a software redirector underneath, which has every rule too.
 *
 * A rule that was put is *accepted*. That packets take it is proven by {@link counters} that move, and by nothing else: a driver
 * may say that a rule is in hardware when it has merely sent it there.
 *
 * The rules outlive the process, and the next one that opens the device with the same priority and chain adopts them; each says
 * which handoff it belongs to. One process at a time owns a device and priority.
 */
export class FlowerRedirector implements Redirector {
  readonly #options: FlowerRedirectorOptions
  readonly #hardware: FlowerHardware
  readonly #kernel: FlowerKernel
  readonly #turns = new Turns()
  #manifest: RedirectorManifest
  #opening: Promise<void> | undefined
  #ending: Promise<void> | undefined
  #device: OpenDevice | undefined

  /** `expected` is the manifest until the device is open. Throws {@link RedirectorError} `invalid` for options that cannot be right. */
  constructor(options: FlowerRedirectorOptions, hardware: FlowerHardware, expected: FlowerProfile) {
    checkOptions(options)
    this.#options = { ...options }
    this.#hardware = hardware
    this.#kernel = options.kernel ?? linuxKernel
    this.#manifest = manifestOf({ ...expected, capacity: options.capacity ?? expected.capacity })
  }

  get manifest(): RedirectorManifest {
    return this.#manifest
  }

  async open({ signal }: OperationOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const { device } = this.#options
    if (this.#opening !== undefined || this.#device !== undefined) {
      throw new RedirectorError('busy', `${device} is open already`)
    }
    this.#opening = this.#start()
    try {
      await this.#opening
    } catch (error) {
      throw asRedirectorError(`cannot open ${device}`, error)
    } finally {
      this.#opening = undefined
    }
  }

  close(): Promise<void> {
    return this.#end('closed', clearDevice)
  }

  release(): Promise<void> {
    return this.#end('released', async () => undefined)
  }

  async put(rule: Rule, { signal }: OperationOptions = {}): Promise<PutOutcome> {
    signal?.throwIfAborted()
    const prepared = prepareRule(this.#open(), rule)
    await this.#turns.take(prepared.flow.id, () =>
      this.#unaborted(signal, (device) => putRule(device, prepared, signal)),
    )
    return 'accepted'
  }

  async remove(flow: FlowKey, { signal }: OperationOptions = {}): Promise<boolean> {
    signal?.throwIfAborted()
    this.#open()
    return this.#turns.take(flow.id, () => this.#unaborted(signal, (device) => removeRule(device, flow, signal)))
  }

  async counters(flow: FlowKey, { signal }: OperationOptions = {}): Promise<FlowCounters | undefined> {
    signal?.throwIfAborted()
    this.#open()
    const { now } = this.#kernel
    return this.#turns.take(flow.id, () => this.#unaborted(signal, (device) => readCounters(device, flow, now, signal)))
  }

  async *list({ signal }: OperationOptions = {}): AsyncGenerator<ListedRule, void, undefined> {
    signal?.throwIfAborted()
    const device = this.#open()
    for (const table of Object.values(device.tables)) {
      for await (const { filter } of device.filters.dump('listing the rules', dumpFlower(table), 'listing')) {
        const rule = listedRule(device, filter, this.#kernel.now)
        if (rule !== undefined) yield rule
        // Both may have happened while the caller looked at the rule.
        signal?.throwIfAborted()
        this.#open()
      }
    }
  }

  /** Throws {@link RedirectorError} `gone` when it is not open. */
  statistics(): FlowerRedirectorStatistics {
    return { lostAnswers: this.#open().filters.losses }
  }

  #open(): OpenDevice {
    if (this.#device !== undefined) return this.#device
    throw notOpen(this.#options.device)
  }

  /** An operation whose turn has come, unless it is not wanted any more. */
  async #unaborted<Result>(
    signal: AbortSignal | undefined,
    operation: (device: OpenDevice) => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted()
    return operation(this.#open())
  }

  async #start(): Promise<void> {
    let connection: FlowerConnection | undefined
    try {
      // Nothing is awaited before the sockets are open: by then the caller may be in another network namespace.
      const found = examine(this.#kernel, this.#options, this.#hardware)
      connection = this.#connect(found.device.ifindex)
      const { profile } = found
      this.#device = await this.#take(connection, { ...found, vlan: this.#options.vlan }, found.device.ifindex)
      this.#manifest = manifestOf(profile)
    } catch (error) {
      await connection?.close()
      throw error
    }
  }

  #connect(ifindex: number): FlowerConnection {
    const { device, chain = 0, priority = DEFAULT_PRIORITY } = this.#options
    const connection = this.#kernel.connect(`xoffload-flower/${ifindex}/${chain}/${priority}`)
    if (connection !== undefined) return connection
    const message = `priority ${priority} of ${device} belongs to another redirector: close it, or choose another priority`
    throw new RedirectorError('busy', message)
  }

  #take(connection: FlowerConnection, found: Omit<FilterShape, 'source'>, ifindex: number): Promise<OpenDevice> {
    const { chain = 0, priority = DEFAULT_PRIORITY } = this.#options
    const filters = new DeviceFilters(connection, found.profile.expected.insertMicroseconds)
    const shape = { ...found, source: (remote: string) => connection.sourceOf(remote) }
    return openDevice(filters, filterTables(ifindex, chain, priority), shape)
  }

  #end(how: string, last: (device: OpenDevice) => Promise<void>): Promise<void> {
    this.#ending ??= this.#finish(how, last).finally(() => {
      this.#ending = undefined
    })
    return this.#ending
  }

  async #finish(how: string, last: (device: OpenDevice) => Promise<void>): Promise<void> {
    // What comes of it is told to whoever opens.
    await this.#opening?.catch(() => undefined)
    const device = this.#device
    if (device === undefined) return
    this.#device = undefined
    const { filters } = device
    const name = this.#options.device
    try {
      await filters.withdraw(new RedirectorError('gone', `the redirector of ${name} was ${how}`))
      await this.#turns.idle()
      await last(device)
    } catch (error) {
      throw asRedirectorError(`cannot give ${name} back`, error)
    } finally {
      await filters.connection.close()
    }
  }
}

function notOpen(device: string): RedirectorError {
  return new RedirectorError('gone', `the redirector of ${device} is not open`)
}

function manifestOf({ name, offload, families, steerModes, capacity, expected }: FlowerProfile): RedirectorManifest {
  return { name, offload, families, steerModes, holds: false, capacity, observable: true, expected }
}
