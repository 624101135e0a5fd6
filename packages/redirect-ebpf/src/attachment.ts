import { type MacAddress, RedirectorError } from '@xoffload/core'
import {
  attachTc,
  BPF_F_LOCK,
  type BpfMap,
  BpfObject,
  createClsact,
  type Link,
  LinuxError,
  Rtnetlink,
  Tap,
} from '@xoffload/linux'
import {
  attach,
  detach,
  type HookPlace,
  type Inheritance,
  inherit,
  isAttached,
  removeEmptyClsact,
} from './device-hooks.ts'
import { HoldQueue, TAP_QUEUE_LENGTH } from './hold-queue.ts'
import { type DeviceConfig, encodeConfig, FIRST_INDEX, NAMES, type ProgramStatistics } from './layout.ts'
import { readObject } from './object-file.ts'
import { PinFolder } from './pins.ts'
import { heldFlows, usedTunnels } from './rule-layout.ts'
import { Tunnels } from './tunnels.ts'
import { attachXdpTo, inspectXdp, loadXdp, removeXdpOf, type XdpChoice, type XdpHook } from './xdp-hook.ts'

/** What to attach, and where. */
export interface AttachmentOptions {
  readonly device: string
  readonly capacity: number
  readonly priority: number
  readonly handle: number
  readonly maximumHeldBytes: number
  readonly pins: string | undefined
  /** An XDP program in front of those of tc, in this mode; undefined for none. */
  readonly xdp: XdpChoice | undefined
}

/** Everything that a redirector has in the kernel. */
export interface Attachment {
  readonly place: HookPlace
  readonly object: BpfObject
  readonly xdp: XdpHook | undefined
  /** Where `object` is pinned, if it is. */
  readonly pins: PinFolder | undefined
  readonly flows: BpfMap
  readonly tunnels: Tunnels
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
  const { device, priority, handle, maximumHeldBytes } = options
  const link = findDevice(device)
  const ifindex = link.index
  const place = { device, ifindex, priority, handle }
  using undo = new DisposableStack()
  // The TAP's name is the lock: the kernel gives it to one process, and takes it back when that process dies.
  const tap = openTap(ifindex, priority, device)
  undo.defer(() => tap.close())
  const pins = PinFolder.of(place, options.pins)
  using inherited = inherit(place, pins)
  const found = options.xdp === undefined ? undefined : inspectXdp(device, ifindex, inherited?.flows, pins)
  const madeClsact = createClsact(ifindex)
  if (madeClsact) undo.defer(() => removeEmptyClsact(place))
  const object = loadTc(options.capacity, inherited)
  undo.defer(() => object.close())
  const ownsClsact = madeClsact || inherited?.config?.madeClsact === true
  const config: DeviceConfig = { device: ifindex, tap: tap.ifindex, madeClsact: ownsClsact, mac: link.mac }
  object.map(NAMES.config).update(FIRST_INDEX, encodeConfig(config))
  attachRelease(tap, object)
  const flows = object.map(NAMES.flows)
  const tunnels = new Tunnels(object.map(NAMES.tunnels), () => usedTunnels(flows.batches(1024, BPF_F_LOCK)))
  undo.defer(() => tunnels.close())
  const queue = new HoldQueue(tap, maximumHeldBytes)
  undo.defer(() => queue.close())
  // The flows that an earlier process left locked: their packets are stored from now on.
  for (const flow of heldFlows(flows.batches(1024, BPF_F_LOCK))) queue.hold(flow)
  const xdpObject = options.xdp === undefined ? undefined : loadXdp(object)
  undo.defer(() => xdpObject?.close())
  const pinned = pins?.pin(object, xdpObject)
  // What stays attached, in the place of an earlier process, must stay pinned.
  undo.defer(() => (pinned === undefined || isAttached(place, object) ? undefined : pins?.remove(pinned)))
  if (inherited === undefined) undo.defer(() => detach(place, object))
  attach(place, object, inherited !== undefined)
  const xdp = options.xdp && xdpObject && { object: xdpObject, mode: attachXdpTo(link, xdpObject, options.xdp, found) }
  if (xdp === undefined) removeXdpOf(ifindex, flows, pins)
  if (pinned !== undefined) pins?.keep(pinned)
  const abandonedFrames = unreleasedFrames(inherited?.statistics())
  // Nothing to undo any more.
  undo.move()
  return { place, object, xdp, pins, flows, tunnels, tap, queue, config, abandonedFrames }
}

function loadTc(capacity: number, inherited: Inheritance | undefined): BpfObject {
  const flows = inherited === undefined ? { maxEntries: capacity } : { reuse: inherited.flows }
  const tunnels = inherited?.tunnels === undefined ? {} : { reuse: inherited.tunnels }
  return BpfObject.load(readObject('tc.o'), {
    name: 'xoffload_tc',
    maps: { [NAMES.flows]: flows, [NAMES.tunnels]: tunnels },
  })
}

/** Of programs that nobody sends to any more: what they sent to a TAP and did not see again. */
function unreleasedFrames(statistics: ProgramStatistics | undefined): number {
  if (statistics === undefined) return 0
  const { heldIngress, heldEgress, releasedIngress, releasedEgress } = statistics
  return Number(heldIngress + heldEgress - releasedIngress - releasedEgress)
}

/** Lets go of everything but what is attached to the device. The programs drop what they would hold. */
export function leave({ object, xdp, flows, tunnels, tap, queue, config }: Attachment): void {
  try {
    // What passed the programs before its flow's rule was replaced goes where the rule of now says.
    queue.drain()
    object.map(NAMES.config).update(FIRST_INDEX, encodeConfig({ ...config, tap: 0 }))
  } finally {
    tunnels.close()
    queue.close()
    tap.close()
    flows.close()
    xdp?.object.close()
    object.close()
  }
}

function findDevice(device: string): Link & { readonly mac: MacAddress } {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined)
    throw new RedirectorError('gone', `there is no network device "${device}" in this network namespace`)
  const { mac } = link
  if (mac === undefined) throw new RedirectorError('unsupported', `"${device}" is no Ethernet device`)
  return { ...link, mac }
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
