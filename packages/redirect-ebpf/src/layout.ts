import {
  type FlowCounters,
  FlowKey,
  type HandoffReference,
  type ListedRule,
  MacAddress,
  RedirectorError,
  type Rule,
} from '@xoffload/core'
import type { BpfMapBatch } from '@xoffload/linux'

/** The names in bpf/tc.c and bpf/flow.h. The number in them is the version of the layout: another layout, another name. */
export const NAMES = {
  ingress: 'xo_ingress',
  egress: 'xo_egress',
  release: 'xo_release',
  flows: 'xo_flows_v2',
  config: 'xo_config_v2',
  statistics: 'xo_stats_v2',
} as const

/** `struct xo_rule`. */
export const RULE_LENGTH = 64
/** `struct xo_config`. */
const CONFIG_LENGTH = 12
/** `struct xo_statistics`. */
export const STATISTICS_LENGTH = 56
/** The key of the maps that have one entry. */
export const FIRST_INDEX = new Uint8Array(4)
/** The lengths of a key and of a value, by map. */
export const MAP_LAYOUTS: Readonly<Record<string, readonly [number, number]>> = {
  [NAMES.flows]: [FlowKey.byteLength, RULE_LENGTH],
  [NAMES.config]: [4, CONFIG_LENGTH],
  [NAMES.statistics]: [4, STATISTICS_LENGTH],
}

const HOLD = 1
const STEER = 2
const FLAG_ENDED = 1
const FLAG_SILENT = 2
const FLAG_HANDOFF = 4
const FLAG_RETURNING = 8

const FLAGS_OFFSET = 5
const MAC_OFFSET = 6
const CHECK_OFFSET = 12
/** In words of four bytes. */
const EPOCH_WORD = 5
const HANDOFF_WORD = 6
const PACKETS_OFFSET = 32

/** Writes rules in the layout of `struct xo_rule`, always into the same bytes. */
export class RuleEncoder {
  readonly #bytes = new Uint8Array(RULE_LENGTH)
  readonly #words = new Uint32Array(this.#bytes.buffer)

  /**
   * The bytes are valid until the next call. Throws {@link RedirectorError}: `unsupported` for a steer mode that it does not know,
   * `invalid` for a handoff that is none.
   */
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
      bytes[FLAGS_OFFSET] = (rule.ended === true ? FLAG_ENDED : 0) | (rule.returning === true ? FLAG_RETURNING : 0)
      bytes.set(rule.target.mac.bytes, MAC_OFFSET)
    } else {
      bytes[4] = HOLD
      bytes[FLAGS_OFFSET] = rule.silent === true ? FLAG_SILENT : 0
      bytes.fill(0, MAC_OFFSET, MAC_OFFSET + 6)
    }
    this.#writeHandoff(rule.handoff)
    const key = rule.flow.bytes
    for (let index = 0; index < 4; index++) {
      bytes[CHECK_OFFSET + index] = key[12 + index] as number
      bytes[CHECK_OFFSET + 4 + index] = key[32 + index] as number
    }
    return bytes
  }

  #writeHandoff(reference: HandoffReference | undefined): void {
    const { handoff, epoch } = reference ?? NO_HANDOFF
    if (!Number.isSafeInteger(handoff) || handoff < 0 || epoch >>> 0 !== epoch) {
      throw new RedirectorError(
        'invalid',
        `handoff ${handoff} of epoch ${epoch}: a safe integer and a u32 are expected`,
      )
    }
    const words = this.#words
    words[EPOCH_WORD] = epoch
    // Two words, so that no BigInt is made for a rule.
    words[HANDOFF_WORD] = handoff >>> 0
    words[HANDOFF_WORD + 1] = Math.floor(handoff / WORD)
    if (reference !== undefined) this.#bytes[FLAGS_OFFSET] = (this.#bytes[FLAGS_OFFSET] as number) | FLAG_HANDOFF
  }
}

const NO_HANDOFF: HandoffReference = { handoff: 0, epoch: 0 }
const WORD = 2 ** 32

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
  const flags = value[FLAGS_OFFSET] ?? 0
  const handoff = (flags & FLAG_HANDOFF) === 0 ? {} : { handoff: decodeHandoff(value) }
  if (value[4] === HOLD) {
    const silent = (flags & FLAG_SILENT) === 0 ? {} : { silent: true }
    return { rule: { action: 'hold', flow, ...silent, ...handoff }, counters }
  }
  if (value[4] !== STEER) return undefined
  const target = { mode: 'l2', mac: MacAddress.from(value.subarray(MAC_OFFSET, MAC_OFFSET + 6)) } as const
  const ended = (flags & FLAG_ENDED) === 0 ? {} : { ended: true }
  const returning = (flags & FLAG_RETURNING) === 0 ? {} : { returning: true }
  return { rule: { action: 'steer', flow, target, ...ended, ...returning, ...handoff }, counters }
}

function decodeHandoff(value: Uint8Array): HandoffReference {
  const view = new DataView(value.buffer, value.byteOffset, RULE_LENGTH)
  const handoff = view.getUint32(4 * HANDOFF_WORD + 4, true) * WORD + view.getUint32(4 * HANDOFF_WORD, true)
  return { handoff, epoch: view.getUint32(4 * EPOCH_WORD, true) }
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
  /** Packets that were returned to the gateway, and came back, too often (`returning` of a steer rule). */
  readonly droppedLoops: bigint
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
  }
}
