import type { MacAddress } from '@xoffload/core'
import { LinuxError } from '../errno.ts'
import { AF_INET, AF_INET6 } from '../socket/constants.ts'
import { decodeAddress, decodeFilter, decodeLink, decodeLinkStatistics, decodeNeighbour, IFF_UP } from './decode.ts'
import { ipAddressBytes } from './ip-address.ts'
import { NetlinkBody, viewOf } from './message.ts'
import { NetlinkSocket, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from './socket.ts'

/** A network device. */
export interface Link {
  readonly name: string
  readonly index: number
  /** Undefined for a device that has none, such as a tunnel. */
  readonly mac: MacAddress | undefined
  /** In bytes. */
  readonly mtu: number
  /** Administratively up (`IFF_UP`). */
  readonly up: boolean
  /** The kind of a virtual device, such as `veth`, `bridge`, `tun`. */
  readonly kind: string | undefined
}

/** What has passed a device since it was made, in packets (`struct rtnl_link_stats64`, include/uapi/linux/if_link.h). */
export interface LinkStatistics {
  readonly received: number
  readonly transmitted: number
  readonly receiveDropped: number
  readonly transmitDropped: number
}

/** An address of a device. */
export interface InterfaceAddress {
  readonly address: string
  readonly prefixLength: number
}

export interface AddAddressOptions {
  /** Skip duplicate address detection, so that an IPv6 address can be used at once. */
  readonly noDuplicateDetection?: boolean
}

/** A neighbour (ARP, NDP) entry. */
export interface Neighbour {
  readonly mac: MacAddress | undefined
  /** `NUD_*` bits (include/uapi/linux/neighbour.h): 0x02 reachable, 0x04 stale, 0x20 failed, 0x80 permanent. */
  readonly state: number
}

/** One classifier of a device's clsact qdisc. */
export interface TcFilter {
  readonly priority: number
  /** 0 for the classifier itself, which holds the filters that have handles. */
  readonly handle: number
  /** `bpf`, `flower`, `u32`, ... */
  readonly kind: string
  /** The id of a `bpf` filter's program. */
  readonly programId: number | undefined
}

const NETLINK_ROUTE = 0
const RTM_GETLINK = 18
const RTM_SETLINK = 19
const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22
const RTM_GETNEIGH = 30
const RTM_GETTFILTER = 46

const IFA_F_NODAD = 0x02
const INTERFACE_NAME_LENGTH = 15
/** TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or TC_H_MIN_EGRESS) of include/uapi/linux/pkt_sched.h. */
const CLSACT_PARENTS = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const

/** Network devices, addresses and filters through rtnetlink(7). Every method throws {@link LinuxError}. */
export class Rtnetlink {
  readonly #socket = new NetlinkSocket(NETLINK_ROUTE)

  /** The device with this name or index, undefined when there is none in this network namespace. */
  link(device: string | number): Link | undefined {
    const body = this.#getLink(device)
    return body === undefined ? undefined : decodeLink(body)
  }

  /** What has passed the device, undefined when there is none. */
  linkStatistics(device: string | number): LinkStatistics | undefined {
    const body = this.#getLink(device)
    return body === undefined ? undefined : decodeLinkStatistics(body)
  }

  /** Changes what is given. `queueLength` is the transmit queue's, in packets. */
  setLink(index: number, { up, queueLength }: { readonly up?: boolean; readonly queueLength?: number }): void {
    const info = new Uint8Array(16)
    const view = viewOf(info)
    view.setInt32(4, index, true)
    if (up !== undefined) {
      view.setUint32(8, up ? IFF_UP : 0, true)
      view.setUint32(12, IFF_UP, true)
    }
    const body = new NetlinkBody(info)
    if (queueLength !== undefined) body.u32(13, queueLength)
    this.#socket.request(`RTM_SETLINK ${index}`, RTM_SETLINK, 0, body.bytes)
  }

  /** False when the device has the address already. */
  addAddress(index: number, address: InterfaceAddress, options: AddAddressOptions = {}): boolean {
    const body = encodeAddress(index, address)
    if (options.noDuplicateDetection === true) body.u32(8, IFA_F_NODAD)
    const call = `RTM_NEWADDR ${address.address}/${address.prefixLength} on ifindex ${index}`
    const flags = NLM_F_CREATE | NLM_F_EXCL
    return orUndefined('EEXIST', () => this.#socket.request(call, RTM_NEWADDR, flags, body.bytes)) !== undefined
  }

  /** False when the device has no such address. */
  removeAddress(index: number, address: InterfaceAddress): boolean {
    const body = encodeAddress(index, address)
    const call = `RTM_DELADDR ${address.address}/${address.prefixLength} on ifindex ${index}`
    return orUndefined('EADDRNOTAVAIL', () => this.#socket.request(call, RTM_DELADDR, 0, body.bytes)) !== undefined
  }

  /** The device's IPv4 and IPv6 addresses. */
  addresses(index: number): InterfaceAddress[] {
    const replies = this.#socket.request('RTM_GETADDR', RTM_GETADDR, NLM_F_DUMP, new Uint8Array(8))
    return replies.flatMap(({ body }) => {
      const found = decodeAddress(body)
      return found?.index === index ? [{ address: found.address, prefixLength: found.prefixLength }] : []
    })
  }

  /** The neighbour entry of an address on a device, undefined when there is none. Needs Linux 5.0. */
  neighbour(index: number, address: string): Neighbour | undefined {
    const bytes = ipAddressBytes(address)
    const message = new Uint8Array(12)
    message[0] = family(bytes)
    viewOf(message).setInt32(4, index, true)
    const body = new NetlinkBody(message).attribute(1, bytes)
    const [reply] =
      orUndefined('ENOENT', () => this.#socket.request(`RTM_GETNEIGH ${address}`, RTM_GETNEIGH, 0, body.bytes)) ?? []
    return reply === undefined ? undefined : decodeNeighbour(reply.body)
  }

  /** The filters on one hook of a device's clsact qdisc; none when it has no such qdisc. */
  filters(index: number, direction: 'ingress' | 'egress'): TcFilter[] {
    const message = new Uint8Array(20)
    const view = viewOf(message)
    view.setInt32(4, index, true)
    view.setUint32(12, CLSACT_PARENTS[direction], true)
    const call = `RTM_GETTFILTER ${direction} of ifindex ${index}`
    const replies = orUndefined('EINVAL', () => this.#socket.request(call, RTM_GETTFILTER, NLM_F_DUMP, message)) ?? []
    return replies.map(({ body }) => decodeFilter(body))
  }

  /** Safe to call twice. */
  close(): void {
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #getLink(device: string | number): Uint8Array | undefined {
    const info = new Uint8Array(16)
    const byName = typeof device === 'string'
    if (byName && (device === '' || new TextEncoder().encode(device).length > INTERFACE_NAME_LENGTH)) return undefined
    if (!byName) viewOf(info).setInt32(4, device, true)
    const body = new NetlinkBody(info)
    if (byName) body.text(3, device)
    const call = `RTM_GETLINK ${device}`
    const [reply] = orUndefined('ENODEV', () => this.#socket.request(call, RTM_GETLINK, 0, body.bytes)) ?? []
    return reply?.body
  }
}

function orUndefined<Result>(errno: string, request: () => Result): Result | undefined {
  try {
    return request()
  } catch (error) {
    if (error instanceof LinuxError && error.errno === errno) return undefined
    throw error
  }
}

function encodeAddress(index: number, { address, prefixLength }: InterfaceAddress): NetlinkBody {
  const bytes = ipAddressBytes(address)
  const message = new Uint8Array(8)
  message[0] = family(bytes)
  message[1] = prefixLength
  viewOf(message).setUint32(4, index, true)
  return new NetlinkBody(message).attribute(2, bytes).attribute(1, bytes)
}

function family(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF_INET : AF_INET6
}
