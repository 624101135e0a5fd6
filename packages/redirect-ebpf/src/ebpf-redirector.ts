import {
  checkRule,
  type FlowCounters,
  FlowKey,
  type L2Target,
  type ListedRule,
  type OperationOptions,
  type PutOutcome,
  type Redirector,
  RedirectorError,
  type RedirectorManifest,
  type Rule,
  type SteerTarget,
} from '@xoffload/core'
import { BPF_F_LOCK, type BpfMap, type XdpMode } from '@xoffload/linux'
import { type Attachment, type AttachmentOptions, attachTo, leave } from './attachment.ts'
import { detach, removeEmptyClsact } from './device-hooks.ts'
import { asRedirectorError } from './errors.ts'
import type { HoldStatistics } from './hold-queue.ts'
import { decodeStatistics, FIRST_INDEX, NAMES, type ProgramStatistics, STATISTICS_LENGTH } from './layout.ts'
import { decodeBatch, decodeCounters, RuleEncoder } from './rule-layout.ts'
import { attachToTunnel, detachFromTunnel, type TunnelHook } from './tunnel-hook.ts'
import { detachXdpFrom, type XdpChoice } from './xdp-hook.ts'

export interface EbpfRedirectorOptions {
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
   * EbpfRedirector.close}, so that the next process can adopt it without CAP_SYS_ADMIN. Default `DEFAULT_PINS` when it is one;
   * nothing is pinned otherwise.
   */
  readonly pins?: string
}

/** What has happened since {@link EbpfRedirector.open}. */
export interface EbpfRedirectorStatistics extends ProgramStatistics, HoldStatistics {
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

/** What the two redirectors of this package have in common: the tc programs, which do everything, and an XDP program in front of them. */
export abstract class EbpfRedirector implements Redirector {
  readonly #options: AttachmentOptions
  readonly #encoder = new RuleEncoder()
  readonly #name: string
  #manifest: RedirectorManifest
  #attached: Attachment | undefined
  #tunnelHook: TunnelHook | undefined

  /** Throws {@link RedirectorError} `invalid` for options that cannot be right. */
  protected constructor(name: string, options: EbpfRedirectorOptions, xdp?: XdpChoice) {
    this.#name = name
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
      xdp,
    }
    this.#manifest = manifest(name, this.#options.capacity, xdp === 'driver' ? 'driver' : undefined)
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
      throw asRedirectorError(`cannot open the ${this.#name} redirector on ${this.#options.device}`, error)
    }
    // An adopted map keeps the size that it was made with.
    this.#manifest = manifest(this.#name, this.#attached.flows.info.maxEntries, this.#attached.xdp?.mode)
  }

  /**
   * From now on the packets that come out of a tunnel at a device of this network namespace (`TunnelDevice`), and belong to flows that have a rule,
   * are treated as if they had come in at this redirector's device, and leave by that. For one device, in the place of an earlier
   * process. Throws {@link RedirectorError}: `gone` when there is no such device or this is not open.
   */
  addTunnel(device: string): void {
    const { place, object } = this.#open()
    try {
      this.#tunnelHook = attachToTunnel(device, { priority: place.priority, handle: place.handle }, object)
    } catch (error) {
      throw asRedirectorError(`cannot take packets from ${device}`, error)
    }
  }

  async close(): Promise<void> {
    const attached = this.#attached
    if (attached === undefined) return
    this.#attached = undefined
    const tunnelHook = this.#tunnelHook
    this.#tunnelHook = undefined
    const { place, object, xdp, pins, flows, tunnels, tap, queue, config } = attached
    try {
      for (const flow of queue.flows()) this.#removeHeld(attached, FlowKey.from(bytesOf(flow)))
      if (xdp !== undefined) detachXdpFrom(place.ifindex, xdp)
      detach(place, object)
      pins?.clear()
      if (tunnelHook !== undefined) detachFromTunnel(tunnelHook)
      // What passed the programs before they were detached goes to the stack, or out.
      queue.drain()
      if (config.madeClsact) removeEmptyClsact(place)
    } catch (error) {
      throw asRedirectorError(`cannot give ${this.#options.device} back`, error)
    } finally {
      tunnels.close()
      queue.close()
      tap.close()
      flows.close()
      xdp?.object.close()
      object.close()
    }
  }

  async release(): Promise<void> {
    const attached = this.#attached
    if (attached === undefined) return
    this.#attached = undefined
    this.#tunnelHook = undefined
    try {
      leave(attached)
    } catch (error) {
      throw asRedirectorError(`cannot release ${this.#options.device}`, error)
    }
  }

  async put(rule: Rule, options?: OperationOptions): Promise<PutOutcome> {
    options?.signal?.throwIfAborted()
    checkRule(rule)
    const { flows, queue } = this.#open()
    const tunnel = rule.action === 'steer' && rule.target.mode !== 'l2' ? this.#tunnel(rule.target) : undefined
    const value = this.#encoder.encode(rule, tunnel)
    const wasHeld = queue.size > 0 && queue.has(rule.flow.id)
    if (rule.action === 'hold') queue.hold(rule.flow.id)
    else if (wasHeld) queue.flush(rule.flow.id, rule.target.mode === 'l2' ? rule.target.mac : tunnel)
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
  statistics(): EbpfRedirectorStatistics {
    const { object, queue, abandonedFrames } = this.#open()
    const value = object.map(NAMES.statistics).lookup(FIRST_INDEX) ?? new Uint8Array(STATISTICS_LENGTH)
    const held = queue.statistics
    const droppedHeldFrames = held.overflowedFrames + held.unreadFrames + held.lostFrames + abandonedFrames
    return { ...decodeStatistics(value), ...held, abandonedFrames, droppedHeldFrames }
  }

  /** The mode of the XDP program, undefined when there is none. */
  protected get xdpMode(): XdpMode | undefined {
    return this.#attached?.xdp?.mode
  }

  #tunnel(target: Exclude<SteerTarget, L2Target>): number {
    const { mode } = target
    if (!this.#manifest.steerModes.includes(mode)) {
      throw new RedirectorError('unsupported', `the ${this.#name} redirector does not steer in mode ${String(mode)}`)
    }
    try {
      return this.#open().tunnels.numberOf(target)
    } catch (error) {
      throw asRedirectorError(`cannot use the tunnel to ${target.remote}`, error)
    }
  }

  #open(): Attachment {
    if (this.#attached !== undefined) return this.#attached
    throw new RedirectorError('gone', `the ${this.#name} redirector on ${this.#options.device} is not open`)
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
      const { tunnels } = this.#open()
      const { value, done } = batches.next()
      return done === true ? undefined : decodeBatch(value, (tunnel) => tunnels.target(tunnel))
    } catch (error) {
      throw asRedirectorError('cannot list the rules', error)
    }
  }
}

function manifest(name: string, capacity: number, mode: XdpMode | undefined): RedirectorManifest {
  return {
    name,
    offload: mode === 'driver' ? 'driver' : 'software',
    families: [4, 6],
    steerModes: ['l2', 'vxlan', 'ipip'],
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
