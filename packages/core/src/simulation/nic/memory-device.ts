import { RedirectorError } from '../../errors.ts'
import type { FlowKey } from '../../flow.ts'
import type { Clock } from '../../ports.ts'
import type {
  FlowCounters,
  ListedRule,
  OffloadKind,
  OperationOptions,
  PutOutcome,
  Redirector,
  RedirectorManifest,
  Rule,
  SteerMode,
} from '../../redirector.ts'
import { keptRule, refuseBadRule } from './rule-checks.ts'

interface Entry {
  rule: Rule
  packets: bigint
  bytes: bigint
  lastSeen: bigint
}

/** A network device that exists in memory: its rules outlive the {@link MemoryRedirector} that has put them. */
export class MemoryDevice {
  readonly rules = new Map<string, Entry>()
  /** The redirector that has the device. */
  owner: unknown
  /** The number of flows that its table was made for, as long as there is one. */
  capacity: number | undefined
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Packets of the client arrive: counts them, and returns the rule that they take. */
  receive(flow: FlowKey, bytes = 60, packets = 1): Rule | undefined {
    const entry = this.rules.get(flow.id)
    if (entry === undefined) return undefined
    entry.packets += BigInt(packets)
    entry.bytes += BigInt(bytes)
    entry.lastSeen = BigInt(Math.round(this.#clock.now() * 1000))
    return entry.rule
  }

  /** The process that has the device is killed. */
  crash(): void {
    this.owner = undefined
  }
}

export interface MemoryRedirectorOptions {
  readonly device: MemoryDevice
  /** Default `memory`. */
  readonly name?: string
  /** Default `software`. */
  readonly offload?: OffloadKind
  /** Default true. */
  readonly holds?: boolean
  /** Default 1,048,576 flows. */
  readonly capacity?: number
  /** Default `l2` only. */
  readonly steerModes?: readonly SteerMode[]
}

/** A redirector whose rules are in memory, and take effect at once. */
export class MemoryRedirector implements Redirector {
  #manifest: RedirectorManifest
  readonly #device: MemoryDevice

  constructor(options: MemoryRedirectorOptions) {
    const { device, name = 'memory', offload = 'software', holds = true, capacity = 1 << 20 } = options
    const expected = { insertMicroseconds: 1, removeMicroseconds: 1 }
    const steerModes = options.steerModes ?? ['l2']
    this.#manifest = { name, offload, families: [4, 6], steerModes, holds, capacity, observable: true, expected }
    this.#device = device
  }

  get manifest(): RedirectorManifest {
    return this.#manifest
  }

  async open({ signal }: OperationOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#device.owner !== undefined) throw new RedirectorError('busy', `the device of ${this.#name} has an owner`)
    this.#device.owner = this
    // An adopted table keeps the size that it was made with.
    this.#device.capacity ??= this.manifest.capacity
    this.#manifest = { ...this.manifest, capacity: this.#device.capacity }
  }

  async close(): Promise<void> {
    if (this.#device.owner !== this) return
    this.#device.rules.clear()
    this.#device.capacity = undefined
    this.#device.owner = undefined
  }

  async release(): Promise<void> {
    if (this.#device.owner === this) this.#device.owner = undefined
  }

  async put(rule: Rule, { signal }: OperationOptions = {}): Promise<PutOutcome> {
    signal?.throwIfAborted()
    const { rules } = this.#open()
    refuseBadRule(rule, this.manifest)
    if (rules.size >= this.manifest.capacity && !rules.has(rule.flow.id)) {
      throw new RedirectorError('full', `${this.#name} has room for ${this.manifest.capacity} flows`)
    }
    rules.set(rule.flow.id, { rule: keptRule(rule), packets: 0n, bytes: 0n, lastSeen: 0n })
    return 'active'
  }

  async remove(flow: FlowKey, { signal }: OperationOptions = {}): Promise<boolean> {
    signal?.throwIfAborted()
    return this.#open().rules.delete(flow.id)
  }

  async counters(flow: FlowKey, { signal }: OperationOptions = {}): Promise<FlowCounters | undefined> {
    signal?.throwIfAborted()
    const entry = this.#open().rules.get(flow.id)
    return entry && countersOf(entry)
  }

  async *list({ signal }: OperationOptions = {}): AsyncGenerator<ListedRule, void, undefined> {
    signal?.throwIfAborted()
    for (const entry of this.#open().rules.values()) {
      signal?.throwIfAborted()
      this.#open()
      yield { rule: entry.rule, counters: countersOf(entry) }
    }
    // Closing has emptied the table under this loop.
    this.#open()
  }

  get #name(): string {
    return this.manifest.name
  }

  #open(): MemoryDevice {
    if (this.#device.owner === this) return this.#device
    throw new RedirectorError('gone', `${this.#name} is not open`)
  }
}

function countersOf({ packets, bytes, lastSeen }: Entry): FlowCounters {
  return { packets, bytes, egressPackets: 0n, lastSeen }
}
