import { ADDRESS_LENGTH, readAddress, writeAddress } from '../address.ts'
import type { Reader } from '../codec/reader.ts'
import type { Writer } from '../codec/writer.ts'
import { CodecError } from '../errors.ts'
import { MacAddress } from '../mac.ts'
import type { HelloMessage } from './messages.ts'

type Tunnel = HelloMessage['tunnel']

const NONE = 0
const VXLAN = 1
const IPIP = 2
const MAC_LENGTH = 6
const MAXIMUM_IDENTIFIER = 0xff_ffff

/** The number of bytes of a tunnel: its mode (u8), its address (16); of VXLAN also the identifier (u32), the port (u16), the MAC address. */
export function tunnelLength(tunnel: Tunnel): number {
  if (tunnel === undefined) return 1
  return 1 + ADDRESS_LENGTH + (tunnel.mode === 'vxlan' ? 4 + 2 + MAC_LENGTH : 0)
}

/** Throws {@link CodecError} for a field that is out of range. */
export function writeTunnel(writer: Writer, tunnel: Tunnel): void {
  if (tunnel === undefined) {
    writer.u8(NONE, 'tunnel mode')
    return
  }
  const remote = new Uint8Array(ADDRESS_LENGTH)
  writeAddress(remote, 0, tunnel.remote)
  writer.u8(tunnel.mode === 'vxlan' ? VXLAN : IPIP, 'tunnel mode')
  writer.bytes(remote, 'tunnel address')
  if (tunnel.mode === 'ipip') return
  writer.u32(checkedIdentifier(tunnel.identifier), 'network identifier')
  writer.u16(checkedPort(tunnel.port), 'UDP port')
  writer.bytes(tunnel.mac.bytes, 'MAC address')
}

/** Throws {@link CodecError} for a mode that this version does not know, and for a field that is out of range. */
export function readTunnel(reader: Reader): Tunnel {
  const mode = reader.u8('tunnel mode')
  if (mode === NONE) return undefined
  if (mode !== VXLAN && mode !== IPIP) throw new CodecError(`unknown tunnel mode ${mode}`)
  const remote = readAddress(reader.bytes(ADDRESS_LENGTH, 'tunnel address'), 0)
  if (mode === IPIP) return { mode: 'ipip', remote }
  return {
    mode: 'vxlan',
    remote,
    identifier: checkedIdentifier(reader.u32('network identifier')),
    port: checkedPort(reader.u16('UDP port')),
    mac: MacAddress.from(reader.bytes(MAC_LENGTH, 'MAC address')),
  }
}

function checkedIdentifier(identifier: number): number {
  if (identifier <= MAXIMUM_IDENTIFIER) return identifier
  throw new CodecError(`network identifier ${identifier} has more than 24 bits`)
}

function checkedPort(port: number): number {
  if (port > 0) return port
  throw new CodecError('a tunnel with UDP port 0')
}
