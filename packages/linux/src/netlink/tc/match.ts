import { MacAddress } from '@xoffload/core'
import { LinuxError } from '../../errno.ts'
import { IPPROTO_TCP } from '../../socket/constants.ts'
import { ipAddressBytes, ipAddressText } from '../ip-address.ts'
import type { NetlinkBody } from '../message.ts'
import { bytes16, bytes32, fields } from './attributes.ts'
import { ETH_P_IP, ETH_P_IPV6 } from './constants.ts'

/** The bits of the TCP flags field that rules tell apart (RFC 9293 section 3.1). */
export const TCP_FIN = 0x01
export const TCP_SYN = 0x02
export const TCP_RST = 0x04

const IPPROTO_UDP = 17
const VLAN_ID_MASK = 0xfff
/** TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT. */
const IS_FRAGMENT = 1

/** TCA_FLOWER_KEY_* (include/uapi/linux/pkt_cls.h). The mask of an address is the attribute after it. */
const KEY_ETH_DST = 4
const KEY_ETH_SRC = 6
const KEY_IP_PROTO = 9
const KEY_IPV4_SRC = 10
const KEY_IPV4_DST = 12
const KEY_IPV6_SRC = 14
const KEY_IPV6_DST = 16
const KEY_TCP_SRC = 18
const KEY_TCP_DST = 19
const KEY_UDP_SRC = 20
const KEY_UDP_DST = 21
const KEY_VLAN_ID = 23
const KEY_VLAN_ETH_TYPE = 25
const KEY_FLAGS = 47
const KEY_FLAGS_MASK = 48
const KEY_TCP_FLAGS = 71
const KEY_TCP_FLAGS_MASK = 72

/**
 * Which packets a flower filter takes: those that agree with everything given here (tc-flower(8)). Addresses and ports match
 * exactly.
 */
export interface FlowerMatch {
  /** 4 and 6: the protocol of the packet, or of what is behind its VLAN tag. */
  readonly family: 4 | 6
  /** The tag that a packet must have, 0 to 4095; without it only packets without a tag match. */
  readonly vlan?: number
  readonly sourceMac?: MacAddress
  readonly destinationMac?: MacAddress
  readonly protocol?: 'tcp' | 'udp'
  readonly source?: string
  readonly destination?: string
  /** 0 to 65535; needs `protocol`. */
  readonly sourcePort?: number
  readonly destinationPort?: number
  /** The TCP flags of `mask` must be as in `value`. */
  readonly tcpFlags?: { readonly value: number; readonly mask: number }
  /** Leave the fragments of a packet out, the first one too. */
  readonly notFragmented?: true
}

/** The Ethernet type of what is matched, behind a VLAN tag if there is one. */
export function networkProtocol({ family }: FlowerMatch): number {
  return family === 4 ? ETH_P_IP : ETH_P_IPV6
}

/**
 * Appends the keys in the order in which `tc` writes them for `vlan_id ... src_mac ... ip_proto ... tcp_flags`. Throws {@link
 * LinuxError} EINVAL.
 */
export function encodeMatch(body: NetlinkBody, match: FlowerMatch): void {
  if (match.vlan !== undefined) {
    if (match.vlan >>> 0 > VLAN_ID_MASK) throw invalid(`VLAN ${match.vlan} is not from 0 to ${VLAN_ID_MASK}`)
    body.attribute(KEY_VLAN_ID, Uint8Array.of(match.vlan & 0xff, match.vlan >> 8))
    body.attribute(KEY_VLAN_ETH_TYPE, bytes16(networkProtocol(match)))
  }
  if (match.sourceMac !== undefined) encodeMasked(body, KEY_ETH_SRC, match.sourceMac.bytes)
  if (match.destinationMac !== undefined) encodeMasked(body, KEY_ETH_DST, match.destinationMac.bytes)
  if (match.protocol !== undefined) {
    body.attribute(KEY_IP_PROTO, Uint8Array.of(match.protocol === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP))
  }
  encodeAddress(body, match, match.source, KEY_IPV4_SRC, KEY_IPV6_SRC)
  encodeAddress(body, match, match.destination, KEY_IPV4_DST, KEY_IPV6_DST)
  encodePort(body, match, match.sourcePort, KEY_TCP_SRC, KEY_UDP_SRC)
  encodePort(body, match, match.destinationPort, KEY_TCP_DST, KEY_UDP_DST)
  if (match.tcpFlags !== undefined) {
    body.attribute(KEY_TCP_FLAGS, bytes16(match.tcpFlags.value))
    body.attribute(KEY_TCP_FLAGS_MASK, bytes16(match.tcpFlags.mask))
  }
}

/** Appends the key that `tc` writes behind the flags of the filter, for `ip_flags nofrag`. */
export function encodeFragmentMatch(body: NetlinkBody, { notFragmented }: FlowerMatch): void {
  if (notFragmented) body.attribute(KEY_FLAGS, bytes32(0)).attribute(KEY_FLAGS_MASK, bytes32(IS_FRAGMENT))
}

/**
 * Reads the keys of {@link FlowerMatch} from the attributes of a filter whose Ethernet type is `etherType`. Undefined when it is
 * neither IPv4 nor IPv6. Throws {@link LinuxError} EBADMSG.
 */
export function decodeMatch(attributes: ReadonlyMap<number, Uint8Array>, etherType: number): FlowerMatch | undefined {
  const inner = attributes.get(KEY_VLAN_ETH_TYPE)
  const type = inner === undefined ? etherType : fields('TCA_FLOWER_KEY_VLAN_ETH_TYPE', inner, 2).getUint16(0, false)
  if (type !== ETH_P_IP && type !== ETH_P_IPV6) return undefined
  const vlan = attributes.get(KEY_VLAN_ID)
  const protocol = protocolOf(attributes.get(KEY_IP_PROTO))
  const flags = attributes.get(KEY_TCP_FLAGS)
  const mask = attributes.get(KEY_TCP_FLAGS_MASK)
  const isIp4 = type === ETH_P_IP
  const port = (tcp: number, udp: number) => portOf(attributes.get(protocol === 'udp' ? udp : tcp))
  return withoutUndefined({
    family: isIp4 ? 4 : 6,
    vlan: vlan && fields('TCA_FLOWER_KEY_VLAN_ID', vlan, 2).getUint16(0, true),
    sourceMac: macOf(attributes.get(KEY_ETH_SRC)),
    destinationMac: macOf(attributes.get(KEY_ETH_DST)),
    protocol,
    source: addressOf(attributes.get(isIp4 ? KEY_IPV4_SRC : KEY_IPV6_SRC), isIp4 ? 4 : 16),
    destination: addressOf(attributes.get(isIp4 ? KEY_IPV4_DST : KEY_IPV6_DST), isIp4 ? 4 : 16),
    sourcePort: port(KEY_TCP_SRC, KEY_UDP_SRC),
    destinationPort: port(KEY_TCP_DST, KEY_UDP_DST),
    tcpFlags: flags && mask && { value: portOf(flags) as number, mask: portOf(mask) as number },
    notFragmented: leavesFragmentsOut(attributes) ? true : undefined,
  })
}

function encodeMasked(body: NetlinkBody, type: number, value: Uint8Array): void {
  body.attribute(type, value)
  body.attribute(type + 1, new Uint8Array(value.length).fill(0xff))
}

function encodeAddress(
  body: NetlinkBody,
  { family }: FlowerMatch,
  text: string | undefined,
  ip4: number,
  ip6: number,
): void {
  if (text === undefined) return
  const bytes = ipAddressBytes(text)
  if (bytes.length !== (family === 4 ? 4 : 16)) throw invalid(`${text} is no IPv${family} address`)
  encodeMasked(body, family === 4 ? ip4 : ip6, bytes)
}

function encodePort(
  body: NetlinkBody,
  { protocol }: FlowerMatch,
  port: number | undefined,
  tcp: number,
  udp: number,
): void {
  if (port === undefined) return
  if (protocol === undefined) throw invalid('a port is matched only with a protocol')
  if (port >>> 0 !== port || port > 0xffff) throw invalid(`${port} is no port`)
  body.attribute(protocol === 'tcp' ? tcp : udp, bytes16(port))
}

function leavesFragmentsOut(attributes: ReadonlyMap<number, Uint8Array>): boolean {
  const [value, mask] = [KEY_FLAGS, KEY_FLAGS_MASK].map((type) => {
    const bytes = attributes.get(type)
    return bytes === undefined ? 0 : fields('TCA_FLOWER_KEY_FLAGS', bytes, 4).getUint32(0, false)
  }) as [number, number]
  return (mask & IS_FRAGMENT) !== 0 && (value & IS_FRAGMENT) === 0
}

function protocolOf(value: Uint8Array | undefined): 'tcp' | 'udp' | undefined {
  if (value?.[0] === IPPROTO_TCP) return 'tcp'
  return value?.[0] === IPPROTO_UDP ? 'udp' : undefined
}

function portOf(value: Uint8Array | undefined): number | undefined {
  return value && fields('TCA_FLOWER_KEY', value, 2).getUint16(0, false)
}

function macOf(value: Uint8Array | undefined): MacAddress | undefined {
  return value?.length === 6 ? MacAddress.from(value) : undefined
}

function addressOf(value: Uint8Array | undefined, length: number): string | undefined {
  return value?.length === length ? ipAddressText(value) : undefined
}

/** An object whose absent properties are not there, as {@link FlowerMatch} wants it. */
function withoutUndefined<Value extends object>(
  value: Value,
): { [Key in keyof Value]: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as never
}

function invalid(what: string): LinuxError {
  return new LinuxError('flower match', 'EINVAL', what)
}
