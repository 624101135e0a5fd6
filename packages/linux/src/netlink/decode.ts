import { MacAddress } from '@xoffload/core'
import { LinuxError } from '../errno.ts'
import { textUntilNul } from '../ffi/memory.ts'
import { AF_INET, AF_INET6 } from '../socket/constants.ts'
import { ipAddressText } from './ip-address.ts'
import { attributeU32, netlinkAttributes, viewOf } from './message.ts'
import type { InterfaceAddress, Link, LinkStatistics, Neighbour, TcFilter } from './rtnetlink.ts'

// The fixed structures that the messages of rtnetlink(7) begin with, in bytes.
const IFINFOMSG = 16
const IFADDRMSG = 8
const NDMSG = 12
const TCMSG = 20

export const IFF_UP = 1
const IFLA_STATS64 = 23
/** `rx_packets` to `tx_dropped` of `struct rtnl_link_stats64`: a kernel may add fields behind those that are read. */
const STATS64_LENGTH = 64

/** `struct ifinfomsg` with its attributes. Throws {@link LinuxError} EBADMSG when it is cut off. */
export function decodeLink(body: Uint8Array): Link {
  const view = structure('RTM_GETLINK', body, IFINFOMSG)
  const attributes = netlinkAttributes(body.subarray(IFINFOMSG))
  const mac = attributes.get(1)
  const mtu = attributes.get(4)
  const kind = netlinkAttributes(attributes.get(18) ?? new Uint8Array()).get(1)
  return {
    name: textUntilNul(attributes.get(3) ?? new Uint8Array()),
    index: view.getInt32(4, true),
    mac: mac?.length === 6 ? MacAddress.from(mac) : undefined,
    mtu: mtu === undefined ? 0 : attributeU32(mtu),
    up: (view.getUint32(8, true) & IFF_UP) !== 0,
    kind: kind === undefined ? undefined : textUntilNul(kind),
  }
}

/** IFLA_STATS64 of such a message, undefined when it has none. Throws {@link LinuxError} EBADMSG when it is cut off. */
export function decodeLinkStatistics(body: Uint8Array): LinkStatistics | undefined {
  structure('RTM_GETLINK', body, IFINFOMSG)
  const counters = netlinkAttributes(body.subarray(IFINFOMSG)).get(IFLA_STATS64)
  if (counters === undefined) return undefined
  const view = structure('IFLA_STATS64', counters, STATS64_LENGTH)
  const counter = (index: number) => Number(view.getBigUint64(8 * index, true))
  return { received: counter(0), transmitted: counter(1), receiveDropped: counter(6), transmitDropped: counter(7) }
}

/**
 * `struct ifaddrmsg` with its attributes, and the index of its device; undefined for an address of another family.
 * Throws {@link LinuxError} EBADMSG when it is cut off.
 */
export function decodeAddress(body: Uint8Array): (InterfaceAddress & { readonly index: number }) | undefined {
  const view = structure('RTM_GETADDR', body, IFADDRMSG)
  const length = addressLength(view.getUint8(0))
  if (length === undefined) return undefined
  const attributes = netlinkAttributes(body.subarray(IFADDRMSG))
  // On a point-to-point link IFA_ADDRESS is the peer's, and IFA_LOCAL this host's.
  const bytes = attributes.get(2) ?? attributes.get(1)
  if (bytes?.length !== length) return undefined
  return { index: view.getUint32(4, true), address: ipAddressText(bytes), prefixLength: view.getUint8(1) }
}

/** `struct ndmsg` with its attributes. Throws {@link LinuxError} EBADMSG when it is cut off. */
export function decodeNeighbour(body: Uint8Array): Neighbour {
  const view = structure('RTM_GETNEIGH', body, NDMSG)
  const mac = netlinkAttributes(body.subarray(NDMSG)).get(2)
  return { mac: mac?.length === 6 ? MacAddress.from(mac) : undefined, state: view.getUint16(8, true) }
}

/**
 * `struct tcmsg`, TCA_KIND 1, TCA_OPTIONS 2 with TCA_BPF_ID 11. The priority is the upper half of `tcm_info`.
 * Throws {@link LinuxError} EBADMSG when it is cut off.
 */
export function decodeFilter(body: Uint8Array): TcFilter {
  const view = structure('RTM_GETTFILTER', body, TCMSG)
  const attributes = netlinkAttributes(body.subarray(TCMSG))
  const kind = textUntilNul(attributes.get(1) ?? new Uint8Array())
  const options = kind === 'bpf' ? netlinkAttributes(attributes.get(2) ?? new Uint8Array()) : undefined
  const programId = options?.get(11)
  return {
    priority: view.getUint32(16, true) >>> 16,
    handle: view.getUint32(8, true),
    kind,
    programId: programId === undefined ? undefined : attributeU32(programId),
  }
}

function addressLength(family: number): 4 | 16 | undefined {
  if (family === AF_INET) return 4
  return family === AF_INET6 ? 16 : undefined
}

/** The fields of a structure that is at the start of `bytes`. */
function structure(call: string, bytes: Uint8Array, length: number): DataView {
  if (bytes.length >= length) return viewOf(bytes)
  throw new LinuxError(call, 'EBADMSG', `the kernel's answer has ${bytes.length} bytes where ${length} are expected`)
}
