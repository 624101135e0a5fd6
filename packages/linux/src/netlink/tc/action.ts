import { LinuxError } from '../../errno.ts'
import { textUntilNul } from '../../ffi/memory.ts'
import { ipAddressBytes, ipAddressText } from '../ip-address.ts'
import { type NetlinkBody, netlinkAttributes } from '../message.ts'
import { attributes, attributesInOrder, bytes16, bytes32, fields } from './attributes.ts'
import { decodePedit, encodePedit, type HeaderEdit } from './pedit.ts'
import { type ActionStatistics, actionTime, decodeActionStatistics } from './statistics.ts'

/** TC_ACT_* (include/uapi/linux/pkt_cls.h): go on with the next action; the packet is somewhere else now. */
const PIPE = 3
const STOLEN = 4

const ACT_KIND = 1
const ACT_OPTIONS = 2
const ACT_STATS = 4
const ACT_COOKIE = 6
/** TC_COOKIE_MAX_SIZE. */
export const MAXIMUM_COOKIE_LENGTH = 16

const EGRESS_REDIRECT = 1
const TUNNEL_KEY_SET = 1
/** `sizeof(struct tc_mirred)`, `struct tc_csum` and `struct tc_tunnel_key`: `tc_gen` has 20 bytes, the verdict at 8. */
const MIRRED_LENGTH = 28
const CSUM_LENGTH = 24
const TUNNEL_KEY_LENGTH = 24

/** TCA_CSUM_UPDATE_FLAG_* (include/uapi/linux/tc_act/tc_csum.h). */
const CHECKSUMS = { ip4: 1, tcp: 8, udp: 16 } as const

/** A checksum that a csum action computes anew. */
export type Checksum = keyof typeof CHECKSUMS

/** An action of a filter. Every action hands the packet to the next one; `redirect` ends the list. */
export type TcAction =
  | { readonly kind: 'pedit'; readonly edits: readonly HeaderEdit[] }
  | { readonly kind: 'csum'; readonly checksums: readonly Checksum[] }
  | ({ readonly kind: 'tunnel_key' } & TunnelKey)
  /** Sends the packet out of a device (tc-mirred(8), `egress redirect`). */
  | { readonly kind: 'mirred'; readonly ifindex: number }

/** The outer header that a tunnel device is to put in front of the packet (tc-tunnel_key(8), `set`). */
export interface TunnelKey {
  readonly source: string
  readonly destination: string
  /** 24 bits in VXLAN. */
  readonly identifier: number
  /** UDP. */
  readonly destinationPort: number
  /** Whether the outer UDP header has a checksum. */
  readonly checksum: boolean
}

/** An action of a filter as the kernel tells it. */
export interface ListedAction {
  /** `pedit`, `mirred`, `gact`, ... */
  readonly kind: string
  /** Undefined for an action that is none of {@link TcAction}. */
  readonly action: TcAction | undefined
  readonly cookie: Uint8Array | undefined
  readonly statistics: ActionStatistics | undefined
}

/** The attributes of a list of actions, numbered from 1. `cookie` goes to the first. Throws {@link LinuxError} EINVAL. */
export function encodeActions(actions: readonly TcAction[], cookie: Uint8Array | undefined): NetlinkBody {
  if (cookie !== undefined && (cookie.length === 0 || cookie.length > MAXIMUM_COOKIE_LENGTH)) {
    throw invalid(`a cookie has 1 to ${MAXIMUM_COOKIE_LENGTH} bytes, this one ${cookie.length}`)
  }
  const list = attributes()
  for (const [index, action] of actions.entries()) {
    const body = attributes().text(ACT_KIND, action.kind).nested(ACT_OPTIONS, encodeOptions(action))
    if (index === 0 && cookie !== undefined) body.attribute(ACT_COOKIE, cookie)
    list.attribute(index + 1, body)
  }
  return list
}

/** Throws {@link LinuxError} EBADMSG. */
export function decodeActions(list: Uint8Array): ListedAction[] {
  return Array.from(attributesInOrder(list), ({ value }) => {
    const parts = netlinkAttributes(value)
    const kind = textUntilNul(parts.get(ACT_KIND) ?? new Uint8Array())
    const options = parts.get(ACT_OPTIONS) ?? new Uint8Array()
    const statistics = parts.get(ACT_STATS)
    return {
      kind,
      action: decodeOptions(kind, options),
      cookie: parts.get(ACT_COOKIE),
      statistics: statistics && decodeActionStatistics(statistics, actionTime(kind, options)),
    }
  })
}

function encodeOptions(action: TcAction): NetlinkBody {
  switch (action.kind) {
    case 'pedit':
      return encodePedit(action.edits, PIPE)
    case 'csum': {
      const { bytes, view } = parameters(CSUM_LENGTH, PIPE)
      view.setUint32(
        20,
        action.checksums.reduce((flags, name) => flags | CHECKSUMS[name], 0),
        true,
      )
      return attributes().attribute(1, bytes)
    }
    case 'tunnel_key':
      return encodeTunnelKey(action)
    case 'mirred': {
      const { bytes, view } = parameters(MIRRED_LENGTH, STOLEN)
      view.setInt32(20, EGRESS_REDIRECT, true)
      view.setUint32(24, action.ifindex, true)
      return attributes().attribute(2, bytes)
    }
  }
}

function encodeTunnelKey({ source, destination, identifier, destinationPort, checksum }: TunnelKey): NetlinkBody {
  const from = ipAddressBytes(source)
  const to = ipAddressBytes(destination)
  if (from.length !== to.length) throw invalid(`a tunnel from ${source} to ${destination}: two address families`)
  if (identifier >>> 0 !== identifier) throw invalid(`${identifier} is no tunnel identifier`)
  if (destinationPort >>> 0 !== destinationPort || destinationPort > 0xffff) {
    throw invalid(`${destinationPort} is no port`)
  }
  const first = from.length === 4 ? 3 : 5
  const { bytes, view } = parameters(TUNNEL_KEY_LENGTH, PIPE)
  view.setInt32(20, TUNNEL_KEY_SET, true)
  return attributes()
    .attribute(first, from)
    .attribute(first + 1, to)
    .attribute(7, bytes32(identifier))
    .attribute(9, bytes16(destinationPort))
    .attribute(10, Uint8Array.of(checksum ? 0 : 1))
    .attribute(2, bytes)
}

function decodeOptions(kind: string, options: Uint8Array): TcAction | undefined {
  const parts = netlinkAttributes(options)
  switch (kind) {
    case 'pedit':
      return { kind, edits: decodePedit(options) }
    case 'csum': {
      const flags = fields('TCA_CSUM_PARMS', parts.get(1) ?? new Uint8Array(), CSUM_LENGTH).getUint32(20, true)
      return { kind, checksums: (Object.keys(CHECKSUMS) as Checksum[]).filter((name) => flags & CHECKSUMS[name]) }
    }
    case 'mirred': {
      const view = fields('TCA_MIRRED_PARMS', parts.get(2) ?? new Uint8Array(), MIRRED_LENGTH)
      if (view.getInt32(20, true) !== EGRESS_REDIRECT) return undefined
      return { kind, ifindex: view.getUint32(24, true) }
    }
    case 'tunnel_key':
      return decodeTunnelKey(parts)
    default:
      return undefined
  }
}

function decodeTunnelKey(parts: ReadonlyMap<number, Uint8Array>): TcAction | undefined {
  const view = fields('TCA_TUNNEL_KEY_PARMS', parts.get(2) ?? new Uint8Array(), TUNNEL_KEY_LENGTH)
  const isIp4 = parts.has(3)
  const source = parts.get(isIp4 ? 3 : 5)
  const destination = parts.get(isIp4 ? 4 : 6)
  const identifier = parts.get(7)
  const port = parts.get(9)
  const length = isIp4 ? 4 : 16
  if (view.getInt32(20, true) !== TUNNEL_KEY_SET || identifier === undefined || port === undefined) return undefined
  if (source?.length !== length || destination?.length !== length) return undefined
  return {
    kind: 'tunnel_key',
    source: ipAddressText(source),
    destination: ipAddressText(destination),
    identifier: fields('TCA_TUNNEL_KEY_ENC_KEY_ID', identifier, 4).getUint32(0, false),
    destinationPort: fields('TCA_TUNNEL_KEY_ENC_DST_PORT', port, 2).getUint16(0, false),
    checksum: parts.get(10)?.[0] !== 1,
  }
}

function parameters(length: number, verdict: number): { readonly bytes: Uint8Array; readonly view: DataView } {
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setInt32(8, verdict, true)
  return { bytes, view }
}

function invalid(what: string): LinuxError {
  return new LinuxError('tc action', 'EINVAL', what)
}
