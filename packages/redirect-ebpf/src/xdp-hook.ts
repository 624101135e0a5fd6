import { RedirectorError } from '@xoffload/core'
import {
  attachXdp,
  BPF_PROG_TYPE_XDP,
  type BpfMap,
  BpfObject,
  type BpfProgramInfo,
  bpfProgramInfo,
  detachXdp,
  deviceFeatures,
  type Link,
  LinuxError,
  programInfo,
  queryXdp,
  Rtnetlink,
  type XdpAttachment,
  type XdpMode,
} from '@xoffload/linux'
import { NAMES } from './layout.ts'
import { readObject } from './object-file.ts'
import type { PinFolder } from './pins.ts'

/** Which mode is wanted: one, or the better one of those that the device has. */
export type XdpChoice = XdpMode | 'auto'

/** Our XDP program on a device. */
export interface XdpHook {
  readonly object: BpfObject
  readonly mode: XdpMode
}

/**
 * What XDP sees of a device may not be what was on the wire: a NIC that parses VLAN tags takes them out of the frame, and a frame that goes
 * straight back would have lost them.
 */
const VLAN_PARSING = 'rx-vlan-hw-parse'

/**
 * Throws {@link RedirectorError} `busy` when the device has an XDP program that is not the one which works with `flows`, the rules that were
 * found at our place; those of another redirector are foreign, too. Returns what it has.
 */
export function inspectXdp(
  device: string,
  ifindex: number,
  flows: BpfMap | undefined,
  pins: PinFolder | undefined,
): XdpAttachment | undefined {
  const found = queryXdp(ifindex)
  if (found === undefined || worksWith(found, flows, pins)) return found
  const advice = `choose the tc redirector, or remove it with "ip link set dev ${device} xdp off"`
  throw new RedirectorError('busy', `${device} has an XDP program already (id ${found.programId}): ${advice}`)
}

/** Takes away the XDP program that works with `flows`, which a redirector of the other kind has left there. */
export function removeXdpOf(ifindex: number, flows: BpfMap, pins: PinFolder | undefined): void {
  const found = queryXdp(ifindex)
  if (found !== undefined && worksWith(found, flows, pins)) detachXdp(ifindex, found.mode)
}

/** Loads the program, over the maps of the tc programs. The caller closes the object. Throws `LinuxError`. */
export function loadXdp(object: BpfObject): BpfObject {
  const shared = [NAMES.flows, NAMES.config].map((name) => [name, { reuse: object.map(name) }])
  return BpfObject.load(readObject('xdp.o'), { name: 'xoffload_xdp', maps: Object.fromEntries(shared) })
}

/**
 * Attaches the program in the place of `found`, and returns the mode. The tc programs do all that it does, only slower, so it may
 * be missing for a moment. Throws `LinuxError` when the device has no such mode.
 */
export function attachXdpTo(
  link: Link,
  object: BpfObject,
  choice: XdpChoice,
  found: XdpAttachment | undefined,
): XdpMode {
  const attach = (mode: XdpMode): XdpMode => {
    if (found !== undefined && found.mode !== mode) detachXdp(link.index, found.mode)
    attachXdp(link.index, object.program(NAMES[mode]), mode, { replace: found?.mode === mode })
    return mode
  }
  if (choice !== 'auto') return attach(choice)
  if (found !== undefined) return attach(found.mode)
  if (!mayUseDriver(link)) return attach('generic')
  try {
    return attach('driver')
  } catch (error) {
    // Whatever the driver has against it: generic XDP needs no driver.
    if (!(error instanceof LinuxError) || error.errno === 'EPERM' || error.errno === 'EBUSY') throw error
    return attach('generic')
  }
}

/** Takes our program off the device, unless it is gone or another's by now. */
export function detachXdpFrom(ifindex: number, { object, mode }: XdpHook): void {
  const found = isThere(ifindex) ? queryXdp(ifindex) : undefined
  if (found !== undefined && found.programId === programInfo(object.program(NAMES[mode])).id) {
    detachXdp(ifindex, found.mode)
  }
}

/**
 * On a veth pair nobody takes what XDP sends back, unless the peer has an XDP program, too (drivers/net/veth.c, veth_xdp_flush): only the user
 * knows.
 */
function mayUseDriver({ index, kind }: Link): boolean {
  return kind !== 'veth' && deviceFeatures(index)?.active.has(VLAN_PARSING) !== true
}

function isThere(ifindex: number): boolean {
  using rtnetlink = new Rtnetlink()
  return rtnetlink.link(ifindex) !== undefined
}

function worksWith(
  { programId, mode }: XdpAttachment,
  flows: BpfMap | undefined,
  pins: PinFolder | undefined,
): boolean {
  if (flows === undefined) return false
  const pinned = pins?.open(NAMES[mode], programId)
  if (pinned === undefined) return infoOf(programId, NAMES[mode])?.mapIds.includes(flows.info.id) ?? false
  const same = pinned.get(NAMES.flows)?.info.id === flows.info.id
  for (const map of pinned.values()) map.close()
  return same
}

/** Undefined for another program than ours, and for one that this user may not look at. */
function infoOf(programId: number, name: string): BpfProgramInfo | undefined {
  try {
    const info = bpfProgramInfo(programId)
    return info?.type === BPF_PROG_TYPE_XDP && info.name === name ? info : undefined
  } catch (error) {
    if (error instanceof LinuxError && error.errno === 'EPERM') return undefined
    throw error
  }
}
