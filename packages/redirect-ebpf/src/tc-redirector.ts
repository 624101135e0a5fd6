import { readFileSync } from 'node:fs'
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
import { attachTc, BPF_F_LOCK, type BpfMap, BpfObject, createClsact, LinuxError, Rtnetlink, Tap } from '@xoffload/linux'
import {
  attach,
  closeInheritance,
  detach,
  type HookPlace,
  type Inheritance,
  inherit,
  makeClsact,
  removeEmptyClsact,
} from './device-hooks.ts'
import { asRedirectorError } from './errors.ts'
import { HoldQueue, type HoldStatistics, TAP_QUEUE_LENGTH } from './hold-queue.ts'
import {
  decodeCounters,
  decodeEntry,
  decodeStatistics,
  encodeConfig,
  NAMES,
  type ProgramStatistics,
  RULE_LENGTH,
  RuleEncoder,
} from './layout.ts'

export interface TcRedirectorOptions {
  /** The network device that the client's packets arrive at, in the process's network namespace. */
  readonly device: string
  /** The most flows that may have a rule, default 1,048,576. Memory is taken per rule, not in advance. */
  readonly capacity?: number
  /** Where the filters are put on both hooks of the device, default 100. Filters with lower priorities see packets first. */
  readonly priority?: number
  /** Default 1. */
  readonly handle?: number
  /** The most bytes of held packets, of all flows together, default 64 MiB. What comes on top is discarded, and counted. */
  readonly maximumHeldBytes?: number
}

/** What has happened since {@link TcRedirector.open}. */
export interface TcRedirectorStatistics extends ProgramStatistics, HoldStatistics {}

const DEFAULT_CAPACITY = 1 << 20
const DEFAULT_PRIORITY = 100
const DEFAULT_HANDLE = 1
const DEFAULT_HELD_BYTES = 64 * 1024 * 1024
const INDEX = new Uint8Array(4)

/** Everything that `open` made. */
interface Attached {
  readonly place: HookPlace
  readonly object: BpfObject
  readonly flows: BpfMap
  readonly tap: Tap
  readonly queue: HoldQueue
  readonly madeClsact: boolean
}

/**
 * Holds and steers flows with two eBPF programs at the device's tc hooks (clsact, direct action), which share one hash map.
 * Linux 5.8 or newer with CONFIG_NET_CLS_BPF and CONFIG_TUN; libbpf 1.x; root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN.
 *
 * The rules outlive the process: when it dies, steered flows stay steered and held flows stay locked (their packets are then
 * discarded), until the next process opens the device with the same priority and handle, and adopts them.
 * One process at a time owns a device and priority.
 */
export class TcRedirector implements Redirector {
  readonly #options: Required<TcRedirectorOptions>
  readonly #encoder = new RuleEncoder()
  #manifest: RedirectorManifest
  #attached: Attached | undefined

  /** Throws {@link RedirectorError} `invalid` for options that cannot be right. */
  constructor(options: TcRedirectorOptions) {
    this.#options = {
      device: options.device,
      capacity: whole('capacity', options.capacity ?? DEFAULT_CAPACITY, 1, 0x7fffffff),
      priority: whole('priority', options.priority ?? DEFAULT_PRIORITY, 1, 0xffff),
      handle: whole('handle', options.handle ?? DEFAULT_HANDLE, 1, 0xffffffff),
      maximumHeldBytes: whole('maximumHeldBytes', options.maximumHeldBytes ?? DEFAULT_HELD_BYTES, 0, Number.MAX_SAFE_INTEGER),
    }
    this.#manifest = manifest(this.#options.capacity)
  }

  get manifest(): RedirectorManifest {
    return this.#manifest
  }

  async open({ signal }: OperationOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#attached !== undefined) throw new RedirectorError('busy', `${this.#options.device} is open already`)
    try {
      this.#attached = this.#attach()
    } catch (error) {
      throw asRedirectorError(`cannot open the tc redirector on ${this.#options.device}`, error)
    }
    // An adopted map keeps the size that it was made with.
    this.#manifest = manifest(this.#attached.flows.info.maxEntries)
  }

  async close(): Promise<void> {
    const attached = this.#attached
    if (attached === undefined) return
    this.#attached = undefined
    const { place, object, flows, tap, queue, madeClsact } = attached
    try {
      for (const flow of queue.flows()) {
        queue.flush(flow)
        flows.delete(bytesOf(flow))
        queue.release(flow)
      }
      detach(place)
      // What passed the programs before they were detached goes to the stack, or out.
      queue.drain()
      if (madeClsact) removeEmptyClsact(place)
    } catch (error) {
      throw asRedirectorError(`cannot give ${this.#options.device} back`, error)
    } finally {
      queue.close()
      tap.close()
      flows.close()
      object.close()
    }
  }

  async put(rule: Rule, options?: OperationOptions): Promise<PutOutcome> {
    options?.signal?.throwIfAborted()
    const { flows, queue } = this.#open()
    const value = this.#encoder.encode(rule)
    const wasHeld = queue.size > 0 && queue.has(rule.flow.id)
    if (rule.action === 'hold') queue.hold(rule.flow.id)
    else if (wasHeld) queue.flush(rule.flow.id, rule.target.mac)
    try {
      flows.update(rule.flow.bytes, value, BPF_F_LOCK)
    } catch (error) {
      if (rule.action === 'hold' && !wasHeld) queue.release(rule.flow.id)
      throw asRedirectorError(`cannot put a rule for ${rule.flow}`, error)
    }
    if (wasHeld && rule.action !== 'hold') queue.release(rule.flow.id)
    return 'active'
  }

  async remove(flow: FlowKey, options?: OperationOptions): Promise<boolean> {
    options?.signal?.throwIfAborted()
    const { flows, queue } = this.#open()
    if (queue.size > 0) queue.flush(flow.id)
    let removed: boolean
    try {
      removed = flows.delete(flow.bytes)
    } catch (error) {
      throw asRedirectorError(`cannot remove the rule of ${flow}`, error)
    }
    if (queue.size > 0) queue.release(flow.id)
    return removed
  }

  async counters(flow: FlowKey, options?: OperationOptions): Promise<FlowCounters | undefined> {
    options?.signal?.throwIfAborted()
    const { flows } = this.#open()
    try {
      const value = flows.lookup(flow.bytes, BPF_F_LOCK)
      return value === undefined ? undefined : decodeCounters(value)
    } catch (error) {
      throw asRedirectorError(`cannot read the counters of ${flow}`, error)
    }
  }

  async *list(options?: OperationOptions): AsyncGenerator<ListedRule, void, undefined> {
    options?.signal?.throwIfAborted()
    const batches = this.#open().flows.batches(1024, BPF_F_LOCK)
    for (;;) {
      options?.signal?.throwIfAborted()
      // The redirector may have been closed while the caller looked at the last rule.
      this.#open()
      const listed = this.#nextBatch(batches)
      if (listed === undefined) return
      yield* listed
    }
  }

  /** What the programs and the store of held packets have counted. Throws {@link RedirectorError} when it is not open. */
  statistics(): TcRedirectorStatistics {
    const { object, queue } = this.#open()
    const value = object.map(NAMES.statistics).lookup(INDEX) ?? new Uint8Array(48)
    return { ...decodeStatistics(value), ...queue.statistics }
  }

  #open(): Attached {
    if (this.#attached !== undefined) return this.#attached
    throw new RedirectorError('gone', `the tc redirector on ${this.#options.device} is not open`)
  }

  #nextBatch(batches: ReturnType<BpfMap['batches']>): ListedRule[] | undefined {
    try {
      const { value, done } = batches.next()
      return done === true ? undefined : decodeBatch(value)
    } catch (error) {
      throw asRedirectorError('cannot list the rules', error)
    }
  }

  #attach(): Attached {
    const { device, priority, handle, capacity, maximumHeldBytes } = this.#options
    const ifindex = findDevice(device)
    const place = { device, ifindex, priority, handle }
    const undo: (() => void)[] = []
    let inherited: Inheritance | undefined
    try {
      // The TAP's name is the lock: the kernel gives it to one process, and takes it back when that process dies.
      const tap = openTap(ifindex, priority, device)
      undo.push(() => tap.close())
      inherited = inherit(place)
      const madeClsact = makeClsact(place)
      if (madeClsact) undo.push(() => removeEmptyClsact(place))
      const object = BpfObject.load(readObject(), {
        name: 'xoffload_tc',
        maps: { [NAMES.flows]: inherited === undefined ? { maxEntries: capacity } : { reuse: inherited.flows } },
      })
      undo.push(() => object.close())
      const ownsClsact = madeClsact || inherited?.config?.madeClsact === true
      object.map(NAMES.config).update(INDEX, encodeConfig({ device: ifindex, tap: tap.ifindex, madeClsact: ownsClsact }))
      attachRelease(tap, object)
      const flows = object.map(NAMES.flows)
      const queue = new HoldQueue(tap, maximumHeldBytes)
      undo.push(() => queue.close())
      adoptHolds(flows, queue)
      if (inherited === undefined) undo.push(() => detach(place))
      attach(place, object, inherited !== undefined)
      return { place, object, flows, tap, queue, madeClsact: ownsClsact }
    } catch (error) {
      for (const step of undo.reverse()) step()
      throw error
    } finally {
      closeInheritance(inherited)
    }
  }
}

function manifest(capacity: number): RedirectorManifest {
  return {
    name: 'tc',
    offload: 'software',
    families: [4, 6],
    steerModes: ['l2'],
    holds: true,
    capacity,
    observable: true,
    expected: { insertMicroseconds: 3, removeMicroseconds: 2.5 },
  }
}

function whole(name: string, value: number, minimum: number, maximum: number): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value
  throw new RedirectorError('invalid', `${name} is ${value}: a whole number from ${minimum} to ${maximum} is expected`)
}

function findDevice(device: string): number {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined) throw new RedirectorError('gone', `there is no network device "${device}" in this network namespace`)
  if (link.mac === undefined) throw new RedirectorError('unsupported', `"${device}" is no Ethernet device`)
  return link.index
}

function openTap(ifindex: number, priority: number, device: string): Tap {
  try {
    return Tap.open({ name: `xo${ifindex.toString(36)}p${priority}`, queueLength: TAP_QUEUE_LENGTH })
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'EBUSY') throw error
    const message = `another process has a redirector at priority ${priority} of ${device}: stop it, or choose another priority`
    throw new RedirectorError('busy', message, { cause: error })
  }
}

function attachRelease(tap: Tap, object: BpfObject): void {
  createClsact(tap.ifindex)
  const place = { ifindex: tap.ifindex, direction: 'ingress', priority: 1, handle: 1 } as const
  attachTc(place, object.program(NAMES.release))
}

/** The flows that an earlier process left locked: their packets are stored from now on. */
function adoptHolds(flows: BpfMap, queue: HoldQueue): void {
  for (const batch of flows.batches(1024, BPF_F_LOCK)) {
    for (const { rule } of decodeBatch(batch)) if (rule.action === 'hold') queue.hold(rule.flow.id)
  }
}

function decodeBatch({ count, keys, values }: { count: number; keys: Uint8Array; values: Uint8Array }): ListedRule[] {
  const rules: ListedRule[] = []
  for (let index = 0; index < count; index++) {
    const key = keys.subarray(index * 36, (index + 1) * 36)
    const rule = decodeEntry(key, values.subarray(index * RULE_LENGTH, (index + 1) * RULE_LENGTH))
    if (rule !== undefined) rules.push(rule)
  }
  return rules
}

function bytesOf(id: string): Uint8Array {
  return Uint8Array.from(id, (character) => character.charCodeAt(0))
}

function readObject(): Uint8Array {
  return readFileSync(new URL('../bpf/tc.o', import.meta.url))
}
