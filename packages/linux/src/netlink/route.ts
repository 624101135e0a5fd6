import { LinuxError } from '../errno.ts'
import { AF_INET, AF_INET6 } from '../socket/constants.ts'
import { ipAddressBytes, ipAddressText } from './ip-address.ts'
import { attributeU32, NetlinkBody, netlinkAttributes } from './message.ts'
import { NetlinkSocket } from './socket.ts'

/** How this host sends packets to an address. */
export interface Route {
  /** The device that they leave by. */
  readonly ifindex: number
  /** The address that they come from, unless a socket is bound to another one. Undefined when the device has none. */
  readonly source: string | undefined
  /** The router that they are sent to; undefined when the address is on the device's link. */
  readonly gateway: string | undefined
  /** The largest IP packet, in bytes, when the route or path MTU discovery says less than the device does. */
  readonly mtu: number | undefined
}

const NETLINK_ROUTE = 0
const RTM_GETROUTE = 26
/** `struct rtmsg` (include/uapi/linux/rtnetlink.h). */
const RTMSG = 12
const RTM_TYPE_OFFSET = 7
const RTN_UNICAST = 1
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTAX_MTU = 2

const UNREACHABLE: readonly string[] = ['ENETUNREACH', 'EHOSTUNREACH', 'ESRCH']

/** The routes of the network namespace in which it was made, whichever the caller is in later. Every method throws {@link LinuxError}. */
export class Routes implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_ROUTE)

  /** The route to an address, as `ip route get` says; undefined when there is none, and for an address of this host itself. */
  find(address: string): Route | undefined {
    const destination = ipAddressBytes(address)
    const message = new Uint8Array(RTMSG)
    message[0] = destination.length === 4 ? AF_INET : AF_INET6
    message[1] = 8 * destination.length
    const body = new NetlinkBody(message).attribute(RTA_DST, destination).bytes
    try {
      const [reply] = this.#socket.request(`RTM_GETROUTE ${address}`, RTM_GETROUTE, 0, body)
      return reply === undefined ? undefined : decodeRoute(reply.body)
    } catch (error) {
      if (error instanceof LinuxError && UNREACHABLE.includes(error.errno)) return undefined
      throw error
    }
  }

  /** Safe to call twice. */
  close(): void {
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** `struct rtmsg` with its attributes. Undefined for a route that leads to no device. */
function decodeRoute(body: Uint8Array): Route | undefined {
  if (body.length < RTMSG || body[RTM_TYPE_OFFSET] !== RTN_UNICAST) return undefined
  const attributes = netlinkAttributes(body.subarray(RTMSG))
  const ifindex = attributes.get(RTA_OIF)
  if (ifindex === undefined) return undefined
  const source = attributes.get(RTA_PREFSRC)
  const gateway = attributes.get(RTA_GATEWAY)
  const mtu = netlinkAttributes(attributes.get(RTA_METRICS) ?? new Uint8Array()).get(RTAX_MTU)
  return {
    ifindex: attributeU32(ifindex),
    source: source === undefined ? undefined : ipAddressText(source),
    gateway: gateway === undefined ? undefined : ipAddressText(gateway),
    mtu: mtu === undefined ? undefined : attributeU32(mtu),
  }
}
