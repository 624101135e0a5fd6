import {
  type FlowCounters,
  FlowKey,
  type HandoffReference,
  type ListedRule,
  MacAddress,
  RedirectorError,
  type Rule,
  type SteerTarget,
} from '@xoffload/core'
import type { BpfMapBatch } from '@xoffload/linux'

/** `struct xo_rule`. */
export const RULE_LENGTH = 64

const HOLD = 1
const STEER = 2
const FLAG_ENDED = 1
const FLAG_SILENT = 2
const FLAG_HANDOFF = 4
const FLAG_RETURNING = 8
const FLAG_TUNNEL = 16

const ACTION_OFFSET = 4
const FLAGS_OFFSET = 5
const MAC_OFFSET = 6
/** In the place of the MAC address's last four bytes. */
const TUNNEL_OFFSET = 8
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
   * `tunnel` is the number of the tunnel to a target that is not on this segment. The bytes are valid until the next call. Throws
   * {@link RedirectorError} `invalid` for a handoff that is none.
   */
  encode(rule: Rule, tunnel = 0): Uint8Array {
    const bytes = this.#bytes
    if (rule.action === 'steer') {
      bytes[ACTION_OFFSET] = STEER
      bytes[FLAGS_OFFSET] = (rule.ended === true ? FLAG_ENDED : 0) | (rule.returning === true ? FLAG_RETURNING : 0)
      if (rule.target.mode === 'l2') bytes.set(rule.target.mac.bytes, MAC_OFFSET)
      else this.#writeTunnel(tunnel)
    } else {
      bytes[ACTION_OFFSET] = HOLD
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

  #writeTunnel(tunnel: number): void {
    const bytes = this.#bytes
    bytes[FLAGS_OFFSET] = (bytes[FLAGS_OFFSET] as number) | FLAG_TUNNEL
    bytes.fill(0, MAC_OFFSET, TUNNEL_OFFSET)
    this.#words[TUNNEL_OFFSET / 4] = tunnel
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

/** The number of the tunnel that a rule leads through; undefined when it does not. */
export function tunnelNumber(value: Uint8Array): number | undefined {
  if (value[ACTION_OFFSET] !== STEER || ((value[FLAGS_OFFSET] ?? 0) & FLAG_TUNNEL) === 0) return undefined
  return new DataView(value.buffer, value.byteOffset, RULE_LENGTH).getUint32(TUNNEL_OFFSET, true)
}

/** What a tunnel's number means. */
export type TunnelNumbers = (number: number) => SteerTarget | undefined

/** One entry of the flow map. Undefined for an action or a tunnel that this version does not know. */
export function decodeEntry(key: Uint8Array, value: Uint8Array, tunnels: TunnelNumbers): ListedRule | undefined {
  const flow = FlowKey.from(key)
  const counters = decodeCounters(value)
  const flags = value[FLAGS_OFFSET] ?? 0
  const handoff = (flags & FLAG_HANDOFF) === 0 ? {} : { handoff: decodeHandoff(value) }
  if (value[ACTION_OFFSET] === HOLD) {
    const silent = (flags & FLAG_SILENT) === 0 ? {} : { silent: true }
    return { rule: { action: 'hold', flow, ...silent, ...handoff }, counters }
  }
  if (value[ACTION_OFFSET] !== STEER) return undefined
  const target = decodeTarget(value, tunnels)
  if (target === undefined) return undefined
  const ended = (flags & FLAG_ENDED) === 0 ? {} : { ended: true }
  const returning = (flags & FLAG_RETURNING) === 0 ? {} : { returning: true }
  return { rule: { action: 'steer', flow, target, ...ended, ...returning, ...handoff }, counters }
}

function decodeTarget(value: Uint8Array, tunnels: TunnelNumbers): SteerTarget | undefined {
  const tunnel = tunnelNumber(value)
  if (tunnel !== undefined) return tunnels(tunnel)
  return { mode: 'l2', mac: MacAddress.from(value.subarray(MAC_OFFSET, MAC_OFFSET + 6)) }
}

function decodeHandoff(value: Uint8Array): HandoffReference {
  const view = new DataView(value.buffer, value.byteOffset, RULE_LENGTH)
  const handoff = view.getUint32(4 * HANDOFF_WORD + 4, true) * WORD + view.getUint32(4 * HANDOFF_WORD, true)
  return { handoff, epoch: view.getUint32(4 * EPOCH_WORD, true) }
}

/** The rules in a batch of the flow map. */
export function decodeBatch({ count, keys, values }: BpfMapBatch, tunnels: TunnelNumbers): ListedRule[] {
  const rules: ListedRule[] = []
  for (let index = 0; index < count; index++) {
    const key = keys.subarray(index * FlowKey.byteLength, (index + 1) * FlowKey.byteLength)
    const rule = decodeEntry(key, values.subarray(index * RULE_LENGTH, (index + 1) * RULE_LENGTH), tunnels)
    if (rule !== undefined) rules.push(rule)
  }
  return rules
}

/** The flows in batches of the flow map that are held, by `FlowKey.id`. */
export function* heldFlows(batches: Iterable<BpfMapBatch>): Generator<string, void, undefined> {
  for (const { count, keys, values } of batches) {
    for (let index = 0; index < count; index++) {
      if (values[index * RULE_LENGTH + ACTION_OFFSET] !== HOLD) continue
      yield String.fromCharCode(...keys.subarray(index * FlowKey.byteLength, (index + 1) * FlowKey.byteLength))
    }
  }
}

/** The numbers of the tunnels that rules in batches of the flow map lead through. */
export function usedTunnels(batches: Iterable<BpfMapBatch>): Set<number> {
  const used = new Set<number>()
  for (const { count, values } of batches) {
    for (let index = 0; index < count; index++) {
      const number = tunnelNumber(values.subarray(index * RULE_LENGTH, (index + 1) * RULE_LENGTH))
      if (number !== undefined) used.add(number)
    }
  }
  return used
}
