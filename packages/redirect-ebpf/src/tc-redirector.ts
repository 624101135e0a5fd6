import {
  type FlowCounters,
  FlowKey,
  type ListedRule,
  type OperationOptions,
  type PutOutcome,
  type Redirector,
  RedirectorError,
  type RedirectorManifest,
  type Rule,
} from '@xoffload/core'
import { BPF_F_LOCK, type BpfMap } from '@xoffload/linux'
import { type Attachment, type AttachmentOptions, attachTo, leave } from './attachment.ts'
import { detach, removeEmptyClsact } from './device-hooks.ts'
import { asRedirectorError } from './errors.ts'
import type { HoldStatistics } from './hold-queue.ts'
import {
  decodeBatch,
  decodeCounters,
  decodeStatistics,
  FIRST_INDEX,
  NAMES,
  type ProgramStatistics,
  RuleEncoder,
  STATISTICS_LENGTH,
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
  /**
   * A directory on a bpffs that this user may write to: what is attached is pinned there, and removed by {@link
   * TcRedirector.close}, so that the next process can adopt it without CAP_SYS_ADMIN. Default `DEFAULT_PINS` when it is one;
   * nothing is pinned otherwise.
   */
  readonly pins?: string
}

/** What has happened since {@link TcRedirector.open}. */
export interface TcRedirectorStatistics extends ProgramStatistics, HoldStatistics {
  /**
   * Frames of held flows that were lost before `open`: those that an earlier process had stored when it ended or released the
   * device, or had dropped itself, and those that came when no process had it.
   */
  readonly abandonedFrames: number
  /** All frames of held flows that were dropped against their rule: overflowed, unread, lost and abandoned ones. */
  readonly droppedHeldFrames: number
}

const DEFAULT_CAPACITY = 1 << 20
const DEFAULT_PRIORITY = 100
const DEFAULT_HANDLE = 1
const DEFAULT_HELD_BYTES = 64 * 1024 * 1024

/**
 * Holds and steers flows with two eBPF programs at the device's tc hooks (clsact, direct action), which share one hash map. Linux
 * 5.8 or newer with CONFIG_NET_CLS_BPF and CONFIG_TUN; libbpf 1.x; root, or CAP_BPF and CAP_NET_ADMIN, and CAP_SYS_ADMIN to adopt
 * what is not pinned. Without CAP_PERFMON the kernel puts barriers against speculation into the programs: about 0.1 us a packet.
 *
 * The rules outlive the process: when it dies, steered flows stay steered and held flows stay locked (their packets are then
 * discarded), until the next process opens the device with the same priority and handle, and adopts them; {@link release} does the
 * same on purpose. One process at a time owns a device and priority. It refuses to adopt rules of another layout, with a {@link
 * RedirectorError} `busy`.
 */
export class TcRedirector implements Redirector {
  readonly #options: AttachmentOptions
  readonly #encoder = new RuleEncoder()
  #manifest: RedirectorManifest
  #attached: Attachment | undefined

  /** Throws {@link RedirectorError} `invalid` for options that cannot be right. */
  constructor(options: TcRedirectorOptions) {
    this.#options = {
      device: options.device,
      capacity: whole('capacity', options.capacity ?? DEFAULT_CAPACITY, 1, 0x7fffffff),
      priority: whole('priority', options.priority ?? DEFAULT_PRIORITY, 1, 0xffff),
      handle: whole('handle', options.handle ?? DEFAULT_HANDLE, 1, 0xffffffff),
      maximumHeldBytes: whole(
        'maximumHeldBytes',
        options.maximumHeldBytes ?? DEFAULT_HELD_BYTES,
        0,
        Number.MAX_SAFE_INTEGER,
      ),
      pins: options.pins,
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
      this.#attached = attachTo(this.#options)
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
    const { place, object, pins, flows, tap, queue, config } = attached
    try {
      for (const flow of queue.flows()) this.#removeHeld(attached, FlowKey.from(bytesOf(flow)))
      detach(place, object)
      pins?.clear()
      // What passed the programs before they were detached goes to the stack, or out.
      queue.drain()
      if (config.madeClsact) removeEmptyClsact(place)
    } catch (error) {
      throw asRedirectorError(`cannot give ${this.#options.device} back`, error)
    } finally {
      queue.close()
      tap.close()
      flows.close()
      object.close()
    }
  }

  async release(): Promise<void> {
    const attached = this.#attached
    if (attached === undefined) return
    this.#attached = undefined
    try {
      leave(attached)
    } catch (error) {
      throw asRedirectorError(`cannot release ${this.#options.device}`, error)
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
    try {
      if (queue.size > 0 && queue.has(flow.id)) return this.#removeHeld(this.#open(), flow)
      return flows.delete(flow.bytes)
    } catch (error) {
      throw asRedirectorError(`cannot remove the rule of ${flow}`, error)
    }
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
    const { object, queue, abandonedFrames } = this.#open()
    const value = object.map(NAMES.statistics).lookup(FIRST_INDEX) ?? new Uint8Array(STATISTICS_LENGTH)
    const held = queue.statistics
    const droppedHeldFrames = held.overflowedFrames + held.unreadFrames + held.lostFrames + abandonedFrames
    return { ...decodeStatistics(value), ...held, abandonedFrames, droppedHeldFrames }
  }

  #open(): Attachment {
    if (this.#attached !== undefined) return this.#attached
    throw new RedirectorError('gone', `the tc redirector on ${this.#options.device} is not open`)
  }

  #removeHeld({ flows, queue }: Attachment, flow: FlowKey): boolean {
    // No longer silent: the stack answers what it gets from here on.
    flows.update(flow.bytes, this.#encoder.encode({ action: 'hold', flow }), BPF_F_LOCK)
    queue.flush(flow.id)
    const removed = flows.delete(flow.bytes)
    queue.release(flow.id)
    return removed
  }

  #nextBatch(batches: ReturnType<BpfMap['batches']>): ListedRule[] | undefined {
    try {
      const { value, done } = batches.next()
      return done === true ? undefined : decodeBatch(value)
    } catch (error) {
      throw asRedirectorError('cannot list the rules', error)
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

function bytesOf(id: string): Uint8Array {
  return Uint8Array.from(id, (character) => character.charCodeAt(0))
}
