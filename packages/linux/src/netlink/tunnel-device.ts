import type { MacAddress } from '@xoffload/core'
import { LinuxError } from '../errno.ts'
import { textUntilNul } from '../ffi/memory.ts'
import { writeSysctl } from '../sysctl.ts'
import { ipAddressBytes } from './ip-address.ts'
import { NetlinkBody, netlinkAttributes } from './message.ts'
import { Rtnetlink } from './rtnetlink.ts'
import { NetlinkSocket, NLM_F_CREATE, NLM_F_EXCL } from './socket.ts'

/** What a tunnel device takes. */
export type TunnelDeviceOptions = {
  /** At most 15 bytes. */
  readonly name: string
  /** The IPv4 or IPv6 address of this host that the tunnel's packets are sent to. */
  readonly local: string
} & (
  | {
      readonly mode: 'vxlan'
      /** The network identifier, 24 bits. */
      readonly identifier: number
      /** The UDP port, usually 4789. */
      readonly port: number
    }
  | { readonly mode: 'ipip' }
)

const NETLINK_ROUTE = 0
const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_SETLINK = 19
/** `struct ifinfomsg`. */
const IFINFOMSG = 16

// include/uapi/linux/if_link.h and if_tunnel.h
const IFLA_IFNAME = 3
const IFLA_LINKINFO = 18
const IFLA_IFALIAS = 20
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const IFLA_VXLAN_ID = 1
const IFLA_VXLAN_LOCAL = 4
const IFLA_VXLAN_LEARNING = 7
const IFLA_VXLAN_PORT = 15
const IFLA_VXLAN_LOCAL6 = 17
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20
const IFLA_IPTUN_LOCAL = 2
const IFLA_IPTUN_FLAGS = 8
const IFLA_IPTUN_PROTO = 9
/** IPv4 and IPv6 inside. */
const ANY_PROTOCOL = 0
/**
 * Packets may come from an address that this host has too (`ip6_tnl_rcv_ctl`, net/ipv6/ip6_tunnel.c): the kernel of a gateway may choose the
 * service address as their source, and servers have it on loopback.
 */
const IP6_TNL_F_ALLOW_LOCAL_REMOTE = 0x40
/** `rp_filter`: the source must be reachable, through whichever device (Documentation/networking/ip-sysctl.rst). */
const LOOSE = 2
/** The IPv4 dummy address (RFC 7600). A device without any address is held to the strict filter (__fib_validate_source, net/ipv4/fib_frontend.c). */
const DUMMY = { address: '192.0.0.8', prefixLength: 32 } as const
const ADDR_GEN_MODE_NONE = 1

/**
 * A device that takes packets out of their tunnel and gives them to this host's stack, from whomever they come: the end of a tunnel that is
 * only received from. Its settings are its own, and go with it.
 */
export class TunnelDevice implements Disposable {
  readonly name: string
  readonly ifindex: number
  /** With `vxlan`: the destination of the frames inside. */
  readonly mac: MacAddress | undefined
  readonly #rtnetlink: Rtnetlink
  readonly #socket: NetlinkSocket
  #closed = false

  private constructor(
    name: string,
    ifindex: number,
    mac: MacAddress | undefined,
    rtnetlink: Rtnetlink,
    socket: NetlinkSocket,
  ) {
    this.name = name
    this.ifindex = ifindex
    this.mac = mac
    this.#rtnetlink = rtnetlink
    this.#socket = socket
  }

  /**
   * Makes the device, or adopts the one that a process before made with the same options: with the same MAC address what is on its way
   * still arrives. Throws {@link LinuxError}: EEXIST when there is another device with this name, or another one that takes the same
   * packets; EOPNOTSUPP when the kernel has no such devices.
   */
  static open(options: TunnelDeviceOptions): TunnelDevice {
    const { name } = options
    using undo = new DisposableStack()
    const socket = undo.use(new NetlinkSocket(NETLINK_ROUTE))
    const rtnetlink = undo.use(new Rtnetlink())
    if (aliasOf(socket, name) !== describe(options)) {
      add(socket, options)
      undo.defer(() => remove(socket, name))
      setAlias(socket, name, describe(options))
    }
    const link = rtnetlink.link(name)
    if (link === undefined) throw new LinuxError(`RTM_GETLINK ${name}`, 'ENODEV', 'the tunnel device went away')
    configure(name)
    rtnetlink.addAddress(link.index, DUMMY)
    rtnetlink.setLink(link.index, { up: true })
    undo.move()
    return new TunnelDevice(name, link.index, link.mac, rtnetlink, socket)
  }

  /** Removes the device. Safe to call twice, and when somebody else has removed it. Throws {@link LinuxError}. */
  close(): void {
    if (this.#closed) return
    try {
      if (this.#rtnetlink.link(this.ifindex) !== undefined) remove(this.#socket, this.name)
    } finally {
      this.release()
    }
  }

  /** Leaves the device as it is, for the next process. Safe to call twice. */
  release(): void {
    this.#closed = true
    this.#rtnetlink.close()
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function add(socket: NetlinkSocket, options: TunnelDeviceOptions): void {
  const { name } = options
  const [kind, data] = kindAndData(options)
  const info = new NetlinkBody(new Uint8Array()).text(IFLA_INFO_KIND, kind).nested(IFLA_INFO_DATA, data)
  const body = new NetlinkBody(new Uint8Array(IFINFOMSG)).text(IFLA_IFNAME, name).nested(IFLA_LINKINFO, info)
  try {
    socket.request(`RTM_NEWLINK ${name} (${kind})`, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body.bytes)
  } catch (error) {
    if (!(error instanceof LinuxError) || error.errno !== 'EOPNOTSUPP') throw error
    throw new LinuxError(error.call, error.errno, `the kernel has no devices of kind "${kind}": try "modprobe ${kind}"`)
  }
}

function kindAndData(options: TunnelDeviceOptions): [kind: string, data: NetlinkBody] {
  const local = ipAddressBytes(options.local)
  const data = new NetlinkBody(new Uint8Array())
  if (options.mode === 'ipip') {
    // Of the kinds that take packets over IPv4, `sit` is the one that takes both IPv4 and IPv6 inside.
    data.attribute(IFLA_IPTUN_LOCAL, local).attribute(IFLA_IPTUN_PROTO, Uint8Array.of(ANY_PROTOCOL))
    return local.length === 4 ? ['sit', data] : ['ip6tnl', data.u32(IFLA_IPTUN_FLAGS, IP6_TNL_F_ALLOW_LOCAL_REMOTE)]
  }
  const port = new Uint8Array(2)
  new DataView(port.buffer).setUint16(0, options.port)
  data
    .u32(IFLA_VXLAN_ID, options.identifier)
    .attribute(local.length === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local)
    .attribute(IFLA_VXLAN_PORT, port)
    // Nothing is ever sent back through the tunnel.
    .attribute(IFLA_VXLAN_LEARNING, Uint8Array.of(0))
    .attribute(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, Uint8Array.of(1))
  return ['vxlan', data]
}

/** The client's packets come in here, and the way to the client is another device. The device itself has nothing to say. */
function configure(name: string): void {
  writeSysctl(`ipv4/conf/${name}/rp_filter`, LOOSE)
  try {
    writeSysctl(`ipv6/conf/${name}/addr_gen_mode`, ADDR_GEN_MODE_NONE)
  } catch (error) {
    // A kernel without IPv6.
    if (!(error instanceof LinuxError) || error.errno !== 'ENOENT') throw error
  }
}

function remove(socket: NetlinkSocket, name: string): void {
  const body = new NetlinkBody(new Uint8Array(IFINFOMSG)).text(IFLA_IFNAME, name)
  socket.request(`RTM_DELLINK ${name}`, RTM_DELLINK, 0, body.bytes)
}

function setAlias(socket: NetlinkSocket, name: string, alias: string): void {
  const body = new NetlinkBody(new Uint8Array(IFINFOMSG)).text(IFLA_IFNAME, name).text(IFLA_IFALIAS, alias)
  socket.request(`RTM_SETLINK ${name}`, RTM_SETLINK, 0, body.bytes)
}

/** The alias of a device says what it was made for. Undefined when there is no such device, or it has none. */
function aliasOf(socket: NetlinkSocket, name: string): string | undefined {
  const body = new NetlinkBody(new Uint8Array(IFINFOMSG)).text(IFLA_IFNAME, name)
  try {
    const [reply] = socket.request(`RTM_GETLINK ${name}`, RTM_GETLINK, 0, body.bytes)
    const alias = reply && netlinkAttributes(reply.body.subarray(IFINFOMSG)).get(IFLA_IFALIAS)
    return alias === undefined ? undefined : textUntilNul(alias)
  } catch (error) {
    if (error instanceof LinuxError && error.errno === 'ENODEV') return undefined
    throw error
  }
}

function describe(options: TunnelDeviceOptions): string {
  const { mode, local } = options
  return `xoffload ${mode} ${local}${mode === 'vxlan' ? ` ${options.identifier} ${options.port}` : ''}`
}
