import { readFileSync } from 'node:fs'
import { RedirectorError } from '@xoffload/core'
import { attachTc, BPF_F_LOCK, type BpfMap, BpfObject, createClsact, LinuxError, Rtnetlink, Tap } from '@xoffload/linux'
import { attach, detach, type HookPlace, inherit, removeEmptyClsact } from './device-hooks.ts'
import { HoldQueue, TAP_QUEUE_LENGTH } from './hold-queue.ts'
import { decodeBatch, encodeConfig, FIRST_INDEX, NAMES } from './layout.ts'

/** What to attach, and where. */
export interface AttachmentOptions {
  readonly device: string
  readonly capacity: number
  readonly priority: number
  readonly handle: number
  readonly maximumHeldBytes: number
}

/** Everything that a redirector has in the kernel. */
export interface Attachment {
  readonly place: HookPlace
  readonly object: BpfObject
  readonly flows: BpfMap
  readonly tap: Tap
  readonly queue: HoldQueue
  readonly madeClsact: boolean
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
  using inherited = inherit(place)
  const madeClsact = createClsact(ifindex)
  if (madeClsact) undo.defer(() => removeEmptyClsact(place))
  const object = BpfObject.load(readObject(), {
    name: 'xoffload_tc',
    maps: { [NAMES.flows]: inherited === undefined ? { maxEntries: capacity } : { reuse: inherited.flows } },
  })
  undo.defer(() => object.close())
  const ownsClsact = madeClsact || inherited?.config?.madeClsact === true
  object
    .map(NAMES.config)
    .update(FIRST_INDEX, encodeConfig({ device: ifindex, tap: tap.ifindex, madeClsact: ownsClsact }))
  attachRelease(tap, object)
  const flows = object.map(NAMES.flows)
  const queue = new HoldQueue(tap, maximumHeldBytes)
  undo.defer(() => queue.close())
  adoptHolds(flows, queue)
  if (inherited === undefined) undo.defer(() => detach(place))
  attach(place, object, inherited !== undefined)
  // Nothing to undo any more.
  undo.move()
  return { place, object, flows, tap, queue, madeClsact: ownsClsact }
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
