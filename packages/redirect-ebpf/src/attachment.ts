import { readFileSync } from 'node:fs'
import { RedirectorError } from '@xoffload/core'
import { attachTc, BPF_F_LOCK, type BpfMap, BpfObject, createClsact, LinuxError, Rtnetlink, Tap } from '@xoffload/linux'
import { attach, detach, type HookPlace, inherit, isAttached, removeEmptyClsact } from './device-hooks.ts'
import { HoldQueue, TAP_QUEUE_LENGTH } from './hold-queue.ts'
import { type DeviceConfig, decodeBatch, encodeConfig, FIRST_INDEX, NAMES, type ProgramStatistics } from './layout.ts'
import { PinFolder } from './pins.ts'

/** What to attach, and where. */
export interface AttachmentOptions {
  readonly device: string
  readonly capacity: number
  readonly priority: number
  readonly handle: number
  readonly maximumHeldBytes: number
  readonly pins: string | undefined
}

/** Everything that a redirector has in the kernel. */
export interface Attachment {
  readonly place: HookPlace
  readonly object: BpfObject
  /** Where `object` is pinned, if it is. */
  readonly pins: PinFolder | undefined
  readonly flows: BpfMap
  readonly tap: Tap
  readonly queue: HoldQueue
  readonly config: DeviceConfig
  /** The frames that were held before this process came, and never released. */
  readonly abandonedFrames: number
}

/**
 * Loads the programs, adopts what an earlier process left, and attaches to the device. When it throws, it has undone what it did.
 */
export function attachTo(options: AttachmentOptions): Attachment {
  const { device, priority, handle, capacity, maximumHeldBytes } = options
  const ifindex = findDevice(device)
  const place = { device, ifindex, priority, handle }
  using undo = new DisposableStack()
  // The TAP's name is the lock: the kernel gives it to one process, and takes it back when that process dies.
  const tap = openTap(ifindex, priority, device)
  undo.defer(() => tap.close())
  const pins = PinFolder.of(place, options.pins)
  using inherited = inherit(place, pins)
  const madeClsact = createClsact(ifindex)
  if (madeClsact) undo.defer(() => removeEmptyClsact(place))
  const object = BpfObject.load(readObject(), {
    name: 'xoffload_tc',
    maps: { [NAMES.flows]: inherited === undefined ? { maxEntries: capacity } : { reuse: inherited.flows } },
  })
  undo.defer(() => object.close())
  const ownsClsact = madeClsact || inherited?.config?.madeClsact === true
  const config: DeviceConfig = { device: ifindex, tap: tap.ifindex, madeClsact: ownsClsact }
  object.map(NAMES.config).update(FIRST_INDEX, encodeConfig(config))
  attachRelease(tap, object)
  const flows = object.map(NAMES.flows)
  const queue = new HoldQueue(tap, maximumHeldBytes)
  undo.defer(() => queue.close())
  adoptHolds(flows, queue)
  const pinned = pins?.pin(object)
  // What stays attached, in the place of an earlier process, must stay pinned.
  undo.defer(() => (pinned === undefined || isAttached(place, object) ? undefined : pins?.remove(pinned)))
  if (inherited === undefined) undo.defer(() => detach(place, object))
  attach(place, object, inherited !== undefined)
  if (pinned !== undefined) pins?.keep(pinned)
  const abandonedFrames = unreleasedFrames(inherited?.statistics())
  // Nothing to undo any more.
  undo.move()
  return { place, object, pins, flows, tap, queue, config, abandonedFrames }
}

/** Of programs that nobody sends to any more: what they sent to a TAP and did not see again. */
function unreleasedFrames(statistics: ProgramStatistics | undefined): number {
  if (statistics === undefined) return 0
  const { heldIngress, heldEgress, releasedIngress, releasedEgress } = statistics
  return Number(heldIngress + heldEgress - releasedIngress - releasedEgress)
}

/** Lets go of everything but what is attached to the device. The programs drop what they would hold. */
export function leave({ object, flows, tap, queue, config }: Attachment): void {
  try {
    // What passed the programs before its flow's rule was replaced goes where the rule of now says.
    queue.drain()
    object.map(NAMES.config).update(FIRST_INDEX, encodeConfig({ ...config, tap: 0 }))
  } finally {
    queue.close()
    tap.close()
    flows.close()
    object.close()
  }
}

function findDevice(device: string): number {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined)
    throw new RedirectorError('gone', `there is no network device "${device}" in this network namespace`)
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

function readObject(): Uint8Array {
  return readFileSync(new URL('../bpf/tc.o', import.meta.url))
}
