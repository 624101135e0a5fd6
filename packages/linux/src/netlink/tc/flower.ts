import { LinuxError } from '../../errno.ts'
import { textUntilNul } from '../../ffi/memory.ts'
import { attributeU32, NetlinkBody, netlinkAttributes, viewOf } from '../message.ts'
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from '../socket.ts'
import { decodeActions, encodeActions, type ListedAction, type TcAction } from './action.ts'
import { attributes, bytes16, fields } from './attributes.ts'
import {
  bigEndian16,
  CLSACT_PARENTS,
  ETH_P_8021Q,
  RTM_DELTFILTER,
  RTM_GETTFILTER,
  RTM_NEWTFILTER,
  TCA_CHAIN,
  TCA_KIND,
  TCA_OPTIONS,
  TCMSG_LENGTH,
} from './constants.ts'
import { decodeMatch, encodeFragmentMatch, encodeMatch, type FlowerMatch, networkProtocol } from './match.ts'
import type { TcRequest } from './request.ts'

const FLOWER_ACT = 3
const FLOWER_KEY_ETH_TYPE = 8
const FLOWER_FLAGS = 22
const FLOWER_IN_HW_COUNT = 86

/** TCA_CLS_FLAGS_* (include/uapi/linux/pkt_cls.h). */
const CLS_FLAGS = { 'skip-hardware': 1, 'skip-software': 2, either: 0 } as const
const IN_HARDWARE = 4

/** Who executes a filter: the NIC alone (an error when it cannot), the kernel alone, or both. */
export type FlowerOffload = keyof typeof CLS_FLAGS

/** A list of filters: one hook, chain and priority of a device. All filters of one priority have one protocol. */
export interface FlowerTable {
  readonly ifindex: number
  readonly direction: 'ingress' | 'egress'
  readonly chain: number
  /** 1 to 65535. Lower ones see packets first. */
  readonly priority: number
}

/** The place of one filter. */
export interface FlowerPlace extends FlowerTable {
  /** From 1 on. */
  readonly handle: number
}

/** One filter. */
export interface FlowerFilter {
  readonly match: FlowerMatch
  readonly actions: readonly TcAction[]
  readonly offload: FlowerOffload
  /** 1 to 16 bytes that the kernel keeps with the first action and tells again. */
  readonly cookie?: Uint8Array
}

/** A filter as the kernel tells it. */
export interface ListedFlower {
  readonly place: FlowerPlace
  /** The protocol of the table (ETH_P_*). */
  readonly protocol: number
  /** Another kind has nothing more to tell. */
  readonly kind: string
  /** Undefined when it is neither IPv4 nor IPv6. Keys that are not in {@link FlowerMatch} are left out. */
  readonly match: FlowerMatch | undefined
  readonly actions: readonly ListedAction[]
  readonly offload: FlowerOffload | undefined
  /** The driver has taken it (TCA_CLS_FLAGS_IN_HW). That no packet proves yet. */
  readonly inHardware: boolean
  /** By how many devices (TCA_FLOWER_IN_HW_COUNT). */
  readonly hardwareCount: number
}

/**
 * `tc filter add`: refused with EEXIST when there is a filter with this handle, or one with this match. Throws {@link LinuxError}
 * EINVAL.
 */
export function addFlower(place: FlowerPlace, filter: FlowerFilter): TcRequest {
  return { type: RTM_NEWTFILTER, flags: NLM_F_CREATE | NLM_F_EXCL, body: encodeFilter(place, filter) }
}

/**
 * `tc filter replace`: adds the filter, or puts it in the place of the one with this handle in one step. The kernel makes the new
 * filter active, in software and in the NIC, before it takes the old one away (`fl_change`, net/sched/cls_flower.c); both must
 * match on the same fields.
 */
export function replaceFlower(place: FlowerPlace, filter: FlowerFilter): TcRequest {
  return { type: RTM_NEWTFILTER, flags: NLM_F_CREATE, body: encodeFilter(place, filter) }
}

/** `tc filter del`: refused with ENOENT when there is none. `match` says which protocol the table has. */
export function deleteFlower(place: FlowerPlace, match: FlowerMatch): TcRequest {
  return { type: RTM_DELTFILTER, flags: 0, body: encodeReference(place, match) }
}

/** `tc filter get`: the answer is one filter, {@link decodeFlower}; ENOENT when there is none. */
export function getFlower(place: FlowerPlace, match: FlowerMatch): TcRequest {
  return { type: RTM_GETTFILTER, flags: 0, body: encodeReference(place, match) }
}

/** `tc filter show`: all filters of a table, and the table itself as one with handle 0. */
export function dumpFlower(table: FlowerTable): TcRequest {
  const body = header({ ...table, handle: 0 }, 0).u32(TCA_CHAIN, table.chain)
  return { type: RTM_GETTFILTER, flags: NLM_F_DUMP, body: body.bytes }
}

/** `tc filter show dev DEVICE HOOK`: all filters of a hook, of every kind, chain and priority. */
export function dumpHook(ifindex: number, direction: FlowerTable['direction']): TcRequest {
  const message = new Uint8Array(TCMSG_LENGTH)
  const view = viewOf(message)
  view.setInt32(4, ifindex, true)
  view.setUint32(12, CLSACT_PARENTS[direction], true)
  return { type: RTM_GETTFILTER, flags: NLM_F_DUMP, body: message }
}

/** The body of an RTM_NEWTFILTER message. Throws {@link LinuxError} EBADMSG. */
export function decodeFlower(body: Uint8Array): ListedFlower {
  const view = fields('RTM_GETTFILTER', body, TCMSG_LENGTH)
  const parts = netlinkAttributes(body.subarray(TCMSG_LENGTH))
  const kind = textUntilNul(parts.get(TCA_KIND) ?? new Uint8Array())
  const options = netlinkAttributes((kind === 'flower' ? parts.get(TCA_OPTIONS) : undefined) ?? new Uint8Array())
  const chain = parts.get(TCA_CHAIN)
  const information = view.getUint32(16, true)
  const flags = optionalU32(options.get(FLOWER_FLAGS))
  const etherType = options.get(FLOWER_KEY_ETH_TYPE)
  const protocol = bigEndian16(information & 0xffff)
  return {
    place: {
      ifindex: view.getInt32(4, true),
      direction: view.getUint32(12, true) === CLSACT_PARENTS.egress ? 'egress' : 'ingress',
      chain: optionalU32(chain),
      priority: information >>> 16,
      handle: view.getUint32(8, true),
    },
    protocol,
    kind,
    match: decodeMatch(options, etherType === undefined ? protocol : fields('ETH_TYPE', etherType, 2).getUint16(0)),
    actions: decodeActions(options.get(FLOWER_ACT) ?? new Uint8Array()),
    offload: offloadOf(flags),
    inHardware: (flags & IN_HARDWARE) !== 0,
    hardwareCount: optionalU32(options.get(FLOWER_IN_HW_COUNT)),
  }
}

function encodeFilter(place: FlowerPlace, { match, actions, offload, cookie }: FlowerFilter): Uint8Array {
  const options = attributes()
  encodeMatch(options, match)
  options.attribute(FLOWER_ACT, encodeActions(actions, cookie))
  options.u32(FLOWER_FLAGS, CLS_FLAGS[offload])
  encodeFragmentMatch(options, match)
  options.attribute(FLOWER_KEY_ETH_TYPE, bytes16(tableProtocol(match)))
  return filterBody(place, match, options)
}

function encodeReference(place: FlowerPlace, match: FlowerMatch): Uint8Array {
  const options = attributes()
  options.u32(FLOWER_FLAGS, CLS_FLAGS.either).attribute(FLOWER_KEY_ETH_TYPE, bytes16(tableProtocol(match)))
  return filterBody(place, match, options)
}

function filterBody(place: FlowerPlace, match: FlowerMatch, options: NetlinkBody): Uint8Array {
  if (place.handle >>> 0 !== place.handle || place.handle === 0) {
    throw new LinuxError('flower', 'EINVAL', `${place.handle} is no handle`)
  }
  return header(place, tableProtocol(match))
    .u32(TCA_CHAIN, place.chain)
    .text(TCA_KIND, 'flower')
    .attribute(TCA_OPTIONS, options).bytes
}

/** `struct tcmsg`. */
function header({ ifindex, direction, priority, handle }: FlowerPlace, protocol: number): NetlinkBody {
  if (!Number.isInteger(priority) || priority < 1 || priority > 0xffff) {
    throw new LinuxError('flower', 'EINVAL', `${priority} is no priority`)
  }
  const message = new Uint8Array(TCMSG_LENGTH)
  const view = viewOf(message)
  view.setInt32(4, ifindex, true)
  view.setUint32(8, handle, true)
  view.setUint32(12, CLSACT_PARENTS[direction], true)
  view.setUint32(16, ((priority << 16) | bigEndian16(protocol)) >>> 0, true)
  return new NetlinkBody(message)
}

function tableProtocol(match: FlowerMatch): number {
  return match.vlan === undefined ? networkProtocol(match) : ETH_P_8021Q
}

function offloadOf(flags: number): FlowerOffload | undefined {
  const asked = flags & 3
  return (Object.keys(CLS_FLAGS) as FlowerOffload[]).find((name) => CLS_FLAGS[name] === asked)
}

function optionalU32(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : attributeU32(value)
}
