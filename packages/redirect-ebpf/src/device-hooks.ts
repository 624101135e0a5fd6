import { RedirectorError } from '@xoffload/core'
import {
  attachTc,
  BPF_PROG_TYPE_SCHED_CLS,
  BpfMap,
  type BpfObject,
  bpfProgramInfo,
  destroyClsact,
  detachTc,
  LinuxError,
  programInfo,
  Rtnetlink,
  type TcDirection,
  type TcFilterPlace,
} from '@xoffload/linux'
import {
  type DeviceConfig,
  decodeConfig,
  decodeStatistics,
  FIRST_INDEX,
  MAP_LAYOUTS,
  NAMES,
  type ProgramStatistics,
} from './layout.ts'
import type { PinFolder } from './pins.ts'

/** Where the two filters of a redirector are. */
export interface HookPlace {
  readonly device: string
  readonly ifindex: number
  readonly priority: number
  readonly handle: number
}

/** What an earlier process left: its rules, what it remembered, and what its programs count. */
export interface Inheritance extends Disposable {
  readonly flows: BpfMap
  /** Undefined when only the egress program is left, which knows no tunnels. */
  readonly tunnels: BpfMap | undefined
  readonly config: DeviceConfig | undefined
  /** Undefined when the programs are not there any more. */
  statistics(): ProgramStatistics | undefined
}

const DIRECTIONS = ['ingress', 'egress'] as const

/**
 * Looks at our place on both hooks. Undefined when it is free. When programs of ours are there, their maps, which the caller
 * disposes of. They are opened in `pins`, and by their ids when they are not there, which needs CAP_SYS_ADMIN. Throws
 * {@link RedirectorError} `busy` when anything else is there, `permission` when that cannot be told.
 */
export function inherit(place: HookPlace, pins?: PinFolder): Inheritance | undefined {
  const maps = new Map<string, BpfMap>()
  try {
    for (const direction of DIRECTIONS) {
      for (const [name, map] of inheritFrom(place, direction, pins) ?? []) {
        if (maps.has(name)) map.close()
        else maps.set(name, map)
      }
    }
    return inheritanceOf(maps)
  } catch (error) {
    for (const map of maps.values()) map.close()
    throw error
  }
}

function inheritanceOf(maps: ReadonlyMap<string, BpfMap>): Inheritance | undefined {
  const flows = maps.get(NAMES.flows)
  if (flows === undefined) return undefined
  const config = maps.get(NAMES.config)?.lookup(FIRST_INDEX)
  return {
    flows,
    tunnels: maps.get(NAMES.tunnels),
    config: config && decodeConfig(config),
    statistics() {
      const value = maps.get(NAMES.statistics)?.lookup(FIRST_INDEX)
      return value && decodeStatistics(value)
    },
    [Symbol.dispose]() {
      for (const map of maps.values()) map.close()
    },
  }
}

/**
 * Attaches both programs; with `replace`, over those of an earlier process. Egress first: from the moment that ingress may hold a packet, what this host answers must be held too.
 */
export function attach(place: HookPlace, object: BpfObject, replace: boolean): void {
  attachTc(at(place, 'egress'), object.program(NAMES.egress), { replace })
  attachTc(at(place, 'ingress'), object.program(NAMES.ingress), { replace })
}

/** Detaches the programs of `object`. A device that is gone has taken them along. */
export function detach(place: HookPlace, object: BpfObject): void {
  for (const direction of DIRECTIONS) {
    if (isAttachedAt(place, direction, object)) detachTc(at(place, direction))
  }
}

/** Whether any program of `object` is attached. */
export function isAttached(place: HookPlace, object: BpfObject): boolean {
  return DIRECTIONS.some((direction) => isAttachedAt(place, direction, object))
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
function isAttachedAt(place: HookPlace, direction: TcDirection, object: BpfObject): boolean {
  const programId = occupant(place, direction)?.programId
  return programId !== undefined && programId === programInfo(object.program(NAMES[direction])).id
}

function occupant(place: HookPlace, direction: TcDirection) {
  using rtnetlink = new Rtnetlink()
  const filters = rtnetlink.filters(place.ifindex, direction).filter(({ priority }) => priority === place.priority)
  const foreign = filters.find(({ kind }) => kind !== 'bpf')
  return foreign ?? filters.find(({ handle }) => handle === place.handle)
}

/** The maps of the program at one of the hooks, by name. Undefined when nothing is there. */
function inheritFrom(
  place: HookPlace,
  direction: TcDirection,
  pins: PinFolder | undefined,
): Map<string, BpfMap> | undefined {
  const found = occupant(place, direction)
  if (found === undefined) return undefined
  const where = `priority ${place.priority}, handle ${place.handle} on ${direction} of ${place.device}`
  if (found.programId === undefined) throw taken(where, `a filter of kind "${found.kind}" is there`)
  const maps = pins?.open(NAMES[direction], found.programId) ?? openById(found.programId, NAMES[direction], where)
  if (maps === undefined || maps.has(NAMES.flows)) return maps
  for (const map of maps.values()) map.close()
  throw taken(where, 'a program of another version of xoffload is there, with rules of another layout')
}

/** The maps of our program with this id, by name. Undefined when it went away between the two questions. */
function openById(id: number, name: string, where: string): Map<string, BpfMap> | undefined {
  try {
    const program = bpfProgramInfo(id)
    if (program === undefined) return undefined
    if (program.type !== BPF_PROG_TYPE_SCHED_CLS || program.name !== name) {
      throw taken(where, `the BPF program "${program.name}" (id ${id}) is there`)
    }
    return openMaps(program.mapIds)
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'EPERM') throw error
    const message = `${where} is taken by a BPF program (id ${id}) that is not pinned: ${error.message}`
    throw new RedirectorError('permission', message, { cause: error })
  }
}

/** Those of our maps whose layout is that of this version, by name. */
function openMaps(ids: readonly number[]): Map<string, BpfMap> {
  const maps = new Map<string, BpfMap>()
  for (const id of ids) {
    const map = BpfMap.fromId(id)
    const { name, keySize, valueSize } = map.info
    const [expectedKey, expectedValue] = MAP_LAYOUTS[name] ?? []
    if (keySize === expectedKey && valueSize === expectedValue && !maps.has(name)) maps.set(name, map)
    else map.close()
  }
  return maps
}

function taken(where: string, what: string): RedirectorError {
  const advice = 'choose another priority or handle, or remove it with "tc filter del"'
  return new RedirectorError('busy', `${where} is taken: ${what}; ${advice}`)
}
