import { RedirectorError } from '@xoffload/core'
import {
  attachTc,
  BPF_PROG_TYPE_SCHED_CLS,
  BpfMap,
  type BpfObject,
  bpfProgramInfo,
  destroyClsact,
  detachTc,
  Rtnetlink,
  type TcDirection,
  type TcFilterPlace,
} from '@xoffload/linux'
import { type DeviceConfig, decodeConfig, NAMES, RULE_LENGTH } from './layout.ts'

/** Where the two filters of a redirector are. */
export interface HookPlace {
  readonly device: string
  readonly ifindex: number
  readonly priority: number
  readonly handle: number
}

/** What an earlier process left: its rules, and what it remembered. */
export interface Inheritance extends Disposable {
  readonly flows: BpfMap
  readonly config: DeviceConfig | undefined
}

const DIRECTIONS = ['ingress', 'egress'] as const

/**
 * Looks at our place on both hooks. Undefined when it is free. When programs of ours are there, their maps, which the caller
 * disposes of. Throws {@link RedirectorError} `busy` when anything else is there.
 */
export function inherit(place: HookPlace): Inheritance | undefined {
  let inherited: Inheritance | undefined
  try {
    for (const direction of DIRECTIONS) {
      const found = inheritFrom(place, direction)
      if (found === undefined) continue
      if (inherited === undefined) inherited = found
      else found[Symbol.dispose]()
    }
    return inherited
  } catch (error) {
    inherited?.[Symbol.dispose]()
    throw error
  }
}

/**
 * Attaches both programs; with `replace`, over those of an earlier process. Egress first: from the moment that ingress may hold a packet, what this host answers must be held too.
 */
export function attach(place: HookPlace, object: BpfObject, replace: boolean): void {
  attachTc(at(place, 'egress'), object.program(NAMES.egress), { replace })
  attachTc(at(place, 'ingress'), object.program(NAMES.ingress), { replace })
}

/** Detaches both programs. A device that is gone has taken them along. */
export function detach(place: HookPlace): void {
  for (const direction of DIRECTIONS) {
    if (isOurs(place, direction)) detachTc(at(place, direction))
  }
}

/** Removes the clsact qdisc when no filter is left in it. */
export function removeEmptyClsact(place: HookPlace): void {
  using rtnetlink = new Rtnetlink()
  if (rtnetlink.link(place.ifindex) === undefined) return
  if (DIRECTIONS.some((direction) => rtnetlink.filters(place.ifindex, direction).length > 0)) return
  destroyClsact(place.ifindex)
}

function at({ ifindex, priority, handle }: HookPlace, direction: TcDirection): TcFilterPlace {
  return { ifindex, direction, priority, handle }
}

/** Another process may have put a filter of its own where ours was. */
function isOurs(place: HookPlace, direction: TcDirection): boolean {
  const programId = occupant(place, direction)?.programId
  return programId !== undefined && bpfProgramInfo(programId)?.name === NAMES[direction]
}

function occupant(place: HookPlace, direction: TcDirection) {
  using rtnetlink = new Rtnetlink()
  const filters = rtnetlink.filters(place.ifindex, direction).filter(({ priority }) => priority === place.priority)
  const foreign = filters.find(({ kind }) => kind !== 'bpf')
  return foreign ?? filters.find(({ handle }) => handle === place.handle)
}

function inheritFrom(place: HookPlace, direction: TcDirection): Inheritance | undefined {
  const found = occupant(place, direction)
  if (found === undefined) return undefined
  const where = `priority ${place.priority}, handle ${place.handle} on ${direction} of ${place.device}`
  if (found.programId === undefined) throw taken(where, `a filter of kind "${found.kind}" is there`)
  const program = bpfProgramInfo(found.programId)
  // It went away between the two questions.
  if (program === undefined) return undefined
  if (program.type !== BPF_PROG_TYPE_SCHED_CLS || program.name !== NAMES[direction]) {
    throw taken(where, `the BPF program "${program.name}" (id ${program.id}) is there`)
  }
  let flows: BpfMap | undefined
  let config: DeviceConfig | undefined
  for (const id of program.mapIds) {
    const map = BpfMap.fromId(id)
    if (map.info.name === NAMES.flows && map.info.keySize === 36 && map.info.valueSize === RULE_LENGTH) {
      flows = map
      continue
    }
    const value = map.info.name === NAMES.config ? map.lookup(new Uint8Array(4)) : undefined
    if (value !== undefined) config = decodeConfig(value)
    map.close()
  }
  if (flows === undefined) throw taken(where, 'a program of another version of xoffload is there, with other rules')
  return { flows, config, [Symbol.dispose]: () => flows.close() }
}

function taken(where: string, what: string): RedirectorError {
  const advice = 'choose another priority or handle, or remove it with "tc filter del"'
  return new RedirectorError('busy', `${where} is taken: ${what}; ${advice}`)
}
