import { FlowKey, MacAddress } from '@xoffload/core'
import { RULE_LENGTH } from './rule-layout.ts'
import { TUNNEL_LENGTH } from './tunnel-layout.ts'

/** The names in bpf/. The number in them is the version of the layout: another layout, another name. */
export const NAMES = {
  ingress: 'xo_ingress',
  egress: 'xo_egress',
  release: 'xo_release',
  fromVxlan: 'xo_from_vxlan',
  fromIp: 'xo_from_ip',
  driver: 'xo_xdp',
  /** The kernel keeps 15 bytes of a name. */
  generic: 'xo_xdp_generic',
  flows: 'xo_flows_v3',
  tunnels: 'xo_tunnels_v3',
  config: 'xo_config_v3',
  statistics: 'xo_stats_v3',
} as const

/** `struct xo_config`. */
const CONFIG_LENGTH = 20
/** `struct xo_statistics`. */
export const STATISTICS_LENGTH = 72
/** The key of the maps that have one entry. */
export const FIRST_INDEX = new Uint8Array(4)
/** The lengths of a key and of a value, by map. */
export const MAP_LAYOUTS: Readonly<Record<string, readonly [number, number]>> = {
  [NAMES.flows]: [FlowKey.byteLength, RULE_LENGTH],
  [NAMES.tunnels]: [4, TUNNEL_LENGTH],
  [NAMES.config]: [4, CONFIG_LENGTH],
  [NAMES.statistics]: [4, STATISTICS_LENGTH],
}

/** `struct xo_config`. `madeClsact`: the qdisc is ours to remove when it is empty. */
export interface DeviceConfig {
  readonly device: number
  readonly tap: number
  readonly madeClsact: boolean
  readonly mac: MacAddress
}

export function encodeConfig({ device, tap, madeClsact, mac }: DeviceConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, device, true)
  view.setUint32(4, tap, true)
  view.setUint32(8, madeClsact ? 1 : 0, true)
  bytes.set(mac.bytes, 12)
  return bytes
}

export function decodeConfig(bytes: Uint8Array): DeviceConfig {
  const view = new DataView(bytes.buffer, bytes.byteOffset, CONFIG_LENGTH)
  return {
    device: view.getUint32(0, true),
    tap: view.getUint32(4, true),
    madeClsact: view.getUint32(8, true) !== 0,
    mac: MacAddress.from(bytes.subarray(12, 18)),
  }
}

/** `struct xo_statistics`: packets since the programs were loaded. */
export interface ProgramStatistics {
  /** Packets of clients that were sent to the TAP. */
  readonly heldIngress: bigint
  /** Packets of this host that were sent to the TAP. */
  readonly heldEgress: bigint
  /** RST of this host on a held flow. */
  readonly droppedResets: bigint
  /** Packets of this host on a steered flow, or on one that is held and silent. */
  readonly droppedEgress: bigint
  readonly releasedIngress: bigint
  readonly releasedEgress: bigint
  /** Packets that were returned to the gateway, and came back, too often (`returning` of a steer rule). */
  readonly droppedLoops: bigint
  /** Packets of clients that were too big for a tunnel, and answered with ICMP. */
  readonly tooBig: bigint
  /** Packets of clients that a tunnel could not take: there is no route to its target, or the kernel is out of memory. */
  readonly droppedTunnel: bigint
}

export function decodeStatistics(bytes: Uint8Array): ProgramStatistics {
  const view = new DataView(bytes.buffer, bytes.byteOffset, STATISTICS_LENGTH)
  return {
    heldIngress: view.getBigUint64(0, true),
    heldEgress: view.getBigUint64(8, true),
    droppedResets: view.getBigUint64(16, true),
    droppedEgress: view.getBigUint64(24, true),
    releasedIngress: view.getBigUint64(32, true),
    releasedEgress: view.getBigUint64(40, true),
    droppedLoops: view.getBigUint64(48, true),
    tooBig: view.getBigUint64(56, true),
    droppedTunnel: view.getBigUint64(64, true),
  }
}
