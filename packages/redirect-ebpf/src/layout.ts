import { type FlowCounters, FlowKey, type ListedRule, MacAddress, RedirectorError, type Rule } from '@xoffload/core'
import type { BpfMapBatch } from '@xoffload/linux'

/** The names in bpf/tc.c and bpf/flow.h. The number in them is the version of the layout: another layout, another name. */
export const NAMES = {
  ingress: 'xo_ingress',
  egress: 'xo_egress',
  release: 'xo_release',
  flows: 'xo_flows_v1',
  config: 'xo_config_v1',
  statistics: 'xo_stats_v1',
} as const

/** `struct xo_rule`. */
export const RULE_LENGTH = 56
/** `struct xo_config`. */
const CONFIG_LENGTH = 12
/** `struct xo_statistics`. */
export const STATISTICS_LENGTH = 48
/** The key of the maps that have one entry. */
export const FIRST_INDEX = new Uint8Array(4)

const HOLD = 1
const STEER = 2
const FLAG_ENDED = 1
const FLAG_SILENT = 2

const MAC_OFFSET = 6
const CHECK_OFFSET = 12
const PACKETS_OFFSET = 24

/** Writes rules in the layout of `struct xo_rule`, always into the same bytes. */
export class RuleEncoder {
  readonly #bytes = new Uint8Array(RULE_LENGTH)

  /** The bytes are valid until the next call. Throws {@link RedirectorError} for a steer mode that it does not know. */
  encode(rule: Rule): Uint8Array {
    const bytes = this.#bytes
    if (rule.action === 'steer') {
      if (rule.target.mode !== 'l2') {
        throw new RedirectorError(
          'unsupported',
          `the tc redirector steers in mode l2, not in mode ${String(rule.target.mode)}`,
        )
      }
      bytes[4] = STEER
      bytes[5] = rule.ended === true ? FLAG_ENDED : 0
      bytes.set(rule.target.mac.bytes, MAC_OFFSET)
    } else {
      bytes[4] = HOLD
      bytes[5] = rule.silent === true ? FLAG_SILENT : 0
      bytes.fill(0, MAC_OFFSET, MAC_OFFSET + 6)
    }
    const key = rule.flow.bytes
    for (let index = 0; index < 4; index++) {
      bytes[CHECK_OFFSET + index] = key[12 + index] as number
      bytes[CHECK_OFFSET + 4 + index] = key[32 + index] as number
    }
    return bytes
  }
}

/** The counters at the end of a `struct xo_rule`. */
export function decodeCounters(value: Uint8Array): FlowCounters {
  const view = new DataView(value.buffer, value.byteOffset + PACKETS_OFFSET, 32)
  return {
    packets: view.getBigUint64(0, true),
    bytes: view.getBigUint64(8, true),
    egressPackets: view.getBigUint64(16, true),
    lastSeen: view.getBigUint64(24, true),
  }
}

/** One entry of the flow map. Undefined for an action that this version does not know. */
export function decodeEntry(key: Uint8Array, value: Uint8Array): ListedRule | undefined {
  const flow = FlowKey.from(key)
  const counters = decodeCounters(value)
  if (value[4] === HOLD) {
    const silent = ((value[5] ?? 0) & FLAG_SILENT) !== 0
    return { rule: { action: 'hold', flow, ...(silent ? { silent } : {}) }, counters }
  }
  if (value[4] !== STEER) return undefined
  const target = { mode: 'l2', mac: MacAddress.from(value.subarray(MAC_OFFSET, MAC_OFFSET + 6)) } as const
  const ended = ((value[5] ?? 0) & FLAG_ENDED) !== 0
  return { rule: { action: 'steer', flow, target, ...(ended ? { ended } : {}) }, counters }
}

/** The rules in a batch of the flow map. */
export function decodeBatch({ count, keys, values }: BpfMapBatch): ListedRule[] {
  const rules: ListedRule[] = []
  for (let index = 0; index < count; index++) {
    const key = keys.subarray(index * FlowKey.byteLength, (index + 1) * FlowKey.byteLength)
    const rule = decodeEntry(key, values.subarray(index * RULE_LENGTH, (index + 1) * RULE_LENGTH))
    if (rule !== undefined) rules.push(rule)
  }
  return rules
}

/** `struct xo_config`. `madeClsact`: the qdisc is ours to remove when it is empty. */
export interface DeviceConfig {
  readonly device: number
  readonly tap: number
  readonly madeClsact: boolean
}

export function encodeConfig({ device, tap, madeClsact }: DeviceConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, device, true)
  view.setUint32(4, tap, true)
  view.setUint32(8, madeClsact ? 1 : 0, true)
  return bytes
}

export function decodeConfig(bytes: Uint8Array): DeviceConfig {
  const view = new DataView(bytes.buffer, bytes.byteOffset, CONFIG_LENGTH)
  return { device: view.getUint32(0, true), tap: view.getUint32(4, true), madeClsact: view.getUint32(8, true) !== 0 }
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
  }
}
