import { networkInterfaces } from 'node:os'
import { LinuxError, Routes, Rtnetlink, TunnelDevice, type TunnelDeviceOptions } from '@xoffload/linux'
import { type GatewayConfig, type GatewayServer, tunnelOverhead } from '../../config/index.ts'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'

/** Of the device that is made for a moment. */
const TRIAL_NAME = 'xodoctor0'

/** The tunnel to a server in another subnet: its end can be made there, and the gateway's segments fit into it. */
export const tunnelCheck: Check = {
  name: 'tunnel',
  run({ role, config }) {
    if (role === 'server') return config?.tunnel && endOfTunnel(config.tunnel)
    if (role !== 'gateway' || config === undefined) return undefined
    const servers = config.servers.filter(({ tunnel }) => tunnel !== undefined)
    if (servers.length === 0) return undefined
    using routes = new Routes()
    using rtnetlink = new Rtnetlink()
    return worst([announced(config, rtnetlink), ...servers.map((server) => way(server, config, routes, rtnetlink))])
  },
}

function endOfTunnel(options: TunnelDeviceOptions): Result {
  const { name, local } = options
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  if (!addresses.some(({ address }) => address === local)) {
    return failed(`${local} is on no device that is up: tunnel.address must be an address of this host`)
  }
  using rtnetlink = new Rtnetlink()
  if (rtnetlink.link(name) !== undefined) {
    return warning(
      `${name} is there already: fine while an agent runs here or has left connections, else ip link del ${name}`,
    )
  }
  return worst([trial(options), ok(`the tunnel can end here, at ${local}; a firewall must let in ${outside(options)}`)])
}

/** The device with all its settings, under another name. Nothing is sent to it while no agent runs. */
function trial(options: TunnelDeviceOptions): Result | undefined {
  try {
    TunnelDevice.open({ ...options, name: TRIAL_NAME }).close()
    return undefined
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error
    return failed(`no ${options.mode} device can be made: ${reason(error, options)}`)
  }
}

function reason({ errno, message }: LinuxError, options: TunnelDeviceOptions): string {
  if (errno === 'EADDRINUSE' && options.mode === 'vxlan') {
    const users = 'a program that "ss -ulnp" shows, or a device of "ip -details link show type vxlan"'
    return `UDP port ${options.port} is taken by ${users}: stop it, or choose another tunnel.port`
  }
  if (errno !== 'EEXIST' && errno !== 'ENOBUFS') return message
  return 'another device takes the same packets: remove what "ip -details link" shows, or give tunnel other values'
}

/** What arrives from the gateway. */
function outside(options: TunnelDeviceOptions): string {
  if (options.mode === 'vxlan') return `UDP port ${options.port}`
  return options.local.includes(':') ? 'IP in IPv6 (protocols 4 and 41)' : 'IP in IPv4 (protocols 4 and 41)'
}

/** nginx's sockets are not the gateway's to limit (`limitSegmentSize`), and what routes say of it is the user's. */
function announced({ nginx, servers, device }: GatewayConfig, rtnetlink: Rtnetlink): Result | undefined {
  const link = rtnetlink.link(device)
  if (nginx === undefined || link === undefined) return undefined
  const overhead = Math.max(...servers.map(({ tunnel }) => (tunnel === undefined ? 0 : tunnelOverhead[tunnel])))
  const size = link.mtu - overhead - 40
  return ok(`clients of nginx send segments that fit if the routes to them have advmss ${size} (IPv6: ${size - 20})`)
}

/** What this host knows of the way, which a narrower link beyond may limit further. */
function way(
  { name, control: { address }, tunnel }: GatewayServer,
  { device }: GatewayConfig,
  routes: Routes,
  rtnetlink: Rtnetlink,
): Result {
  const route = routes.find(address)
  const link = route && rtnetlink.link(route.ifindex)
  if (link === undefined) return failed(`there is no way to ${name}: "ip route get ${address}" must show one`)
  if (route?.source === undefined) {
    return failed(`${link.name}, the way to ${name}, has no address that packets could come from: ip address add`)
  }
  const mtu = Math.min(route.mtu ?? link.mtu, link.mtu)
  const announced = rtnetlink.link(device)?.mtu ?? mtu
  if (mtu >= announced) return ok(`the way to ${name} takes packets of ${mtu} bytes, with ${tunnel} around them`)
  return warning(
    `the way to ${name} takes packets of ${mtu} bytes, and clients are told of what fits into the ${announced} of ${device}: ip link set ${device} mtu ${mtu}`,
  )
}
