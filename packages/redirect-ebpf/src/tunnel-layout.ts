import { type IpipTarget, MacAddress, RedirectorError, type VxlanTarget } from '@xoffload/core'
import { ipAddressBytes, ipAddressText } from '@xoffload/linux'

/** A target that is reached through a tunnel. */
export type TunnelTarget = VxlanTarget | IpipTarget

/** How this host sends the packets of a tunnel. */
export interface TunnelPath {
  readonly ifindex: number
  readonly source: string
  /** The largest IP packet, in bytes. */
  readonly mtu: number
}

/** `struct xo_tunnel`. */
export const TUNNEL_LENGTH = 56

const VXLAN = 1
const IPIP = 2

const FAMILY_OFFSET = 1
const PORT_OFFSET = 2
const IDENTIFIER_OFFSET = 4
const SOURCE_OFFSET = 8
const REMOTE_OFFSET = 24
const DEVICE_OFFSET = 40
const MTU_OFFSET = 44
const MAC_OFFSET = 48

/** Without a path the programs drop the tunnel's packets: no device has the index 0. Throws {@link RedirectorError} `invalid`. */
export function encodeTunnel(target: TunnelTarget, path: TunnelPath | undefined): Uint8Array {
  const bytes = new Uint8Array(TUNNEL_LENGTH)
  const view = new DataView(bytes.buffer)
  const remote = addressBytes(target.remote)
  bytes[0] = target.mode === 'vxlan' ? VXLAN : IPIP
  bytes[FAMILY_OFFSET] = remote.length === 4 ? 4 : 6
  bytes.set(remote, REMOTE_OFFSET + 16 - remote.length)
  if (target.mode === 'vxlan') {
    view.setUint16(PORT_OFFSET, whole('the UDP port', target.port, 1, 0xffff))
    view.setUint32(IDENTIFIER_OFFSET, whole('the network identifier', target.identifier, 0, 0xff_ffff) * 256)
    bytes.set(target.mac.bytes, MAC_OFFSET)
  }
  if (path === undefined) return bytes
  const source = addressBytes(path.source)
  bytes.set(source, SOURCE_OFFSET + 16 - source.length)
  view.setUint32(DEVICE_OFFSET, path.ifindex, true)
  view.setUint32(MTU_OFFSET, path.mtu, true)
  return bytes
}

/** Whether it was encoded with a path. */
export function hasPath(bytes: Uint8Array): boolean {
  return new DataView(bytes.buffer, bytes.byteOffset, TUNNEL_LENGTH).getUint32(DEVICE_OFFSET, true) !== 0
}

/** Undefined for a mode that this version does not know. */
export function decodeTunnel(bytes: Uint8Array): TunnelTarget | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, TUNNEL_LENGTH)
  const length = bytes[FAMILY_OFFSET] === 4 ? 4 : 16
  const remote = ipAddressText(bytes.slice(REMOTE_OFFSET + 16 - length, REMOTE_OFFSET + 16))
  if (bytes[0] === IPIP) return { mode: 'ipip', remote }
  if (bytes[0] !== VXLAN) return undefined
  return {
    mode: 'vxlan',
    remote,
    identifier: view.getUint32(IDENTIFIER_OFFSET) >>> 8,
    port: view.getUint16(PORT_OFFSET),
    mac: MacAddress.from(bytes.subarray(MAC_OFFSET, MAC_OFFSET + 6)),
  }
}

function addressBytes(text: string): Uint8Array {
  try {
    return ipAddressBytes(text)
  } catch (cause) {
    throw new RedirectorError('invalid', `the target of a tunnel: "${text}" is no IP address`, { cause })
  }
}

function whole(name: string, value: number, minimum: number, maximum: number): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value
  throw new RedirectorError('invalid', `${name} of a tunnel is ${value}: ${minimum} to ${maximum} is expected`)
}
