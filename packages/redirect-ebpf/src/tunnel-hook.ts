import { RedirectorError } from '@xoffload/core'
import { attachTc, type BpfObject, createClsact, detachTc, programInfo, queryTc, Rtnetlink } from '@xoffload/linux'
import { type HookPlace, removeEmptyClsact } from './device-hooks.ts'
import { NAMES } from './layout.ts'

/** Our program on the device at which a tunnel ends. */
export interface TunnelHook {
  readonly place: HookPlace
  readonly programId: number
}

/**
 * Makes the packets of flows that have a rule go from the device at which a tunnel ends to the redirector's own, in the place of an earlier
 * process's program. Throws {@link RedirectorError} `gone` when there is no such device, and `LinuxError`.
 */
export function attachToTunnel(
  device: string,
  where: Omit<HookPlace, 'device' | 'ifindex'>,
  object: BpfObject,
): TunnelHook {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(device)
  if (link === undefined) {
    throw new RedirectorError('gone', `there is no tunnel device "${device}" in this network namespace`)
  }
  const place = { ...where, device, ifindex: link.index }
  // What comes out of a tunnel of IP in IP has no Ethernet header.
  const program = object.program(link.mac === undefined ? NAMES.fromIp : NAMES.fromVxlan)
  createClsact(link.index)
  attachTc({ ...place, direction: 'ingress' }, program, { replace: true })
  return { place, programId: programInfo(program).id }
}

/** Detaches the program, unless another process has replaced it. A device that is gone has taken it along. */
export function detachFromTunnel({ place, programId }: TunnelHook): void {
  const filter = { ...place, direction: 'ingress' } as const
  if (!isThere(place) || queryTc(filter) !== programId) return
  detachTc(filter)
  removeEmptyClsact(place)
}

function isThere({ ifindex }: HookPlace): boolean {
  using rtnetlink = new Rtnetlink()
  return rtnetlink.link(ifindex) !== undefined
}
