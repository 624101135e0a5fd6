import { CodecError, FlowKey, MacAddress, RedirectorError, type Rule, type SteerTarget } from '@xoffload/core'
import {
  type FuzzTarget,
  must,
  mustEqualBytes,
  mutated,
  type Random,
  resultOrRefusal,
} from '../../../core/test/support/fuzz/index.ts'
import { decodeEntry, RULE_LENGTH, RuleEncoder, tunnelNumber } from '../../src/rule-layout.ts'

/** Where the counters begin that are no part of a rule: see src/layout.ts. */
const COUNTERS_LENGTH = 32

const encoder = new RuleEncoder()

/** What every number of a tunnel means here. */
const TUNNEL: SteerTarget = { mode: 'ipip', remote: '192.0.2.9' }

const l2 = (random: Random): SteerTarget => ({ mode: 'l2', mac: MacAddress.from(random.bytes(6)) })

function entry(random: Random): Uint8Array {
  const key = random.bytes(FlowKey.byteLength)
  if (random.oneIn(2)) {
    for (const offset of [0, 16]) key.fill(0, offset, offset + 10).fill(0xff, offset + 10, offset + 12)
  }
  const flow = FlowKey.from(key.fill(1, 32))
  const handoff = random.oneIn(2) ? {} : { handoff: { handoff: random.u32(), epoch: random.u32() } }
  const rule: Rule = random.oneIn(2)
    ? { action: 'hold', flow, ...handoff }
    : { action: 'steer', flow, target: random.oneIn(2) ? TUNNEL : l2(random), ...handoff }
  return Uint8Array.of(...flow.bytes, ...encoder.encode(rule, 7))
}

/** An entry of the rule table. The kernel gives every entry its full length. */
export const ruleEntries: FuzzTarget = {
  name: 'rule-entry',
  generate: (random) => mutated(random, [entry(random), entry(random)]),
  check(input) {
    const bytes = new Uint8Array(FlowKey.byteLength + RULE_LENGTH)
    bytes.set(input.subarray(0, bytes.length))
    const [key, value] = [bytes.subarray(0, FlowKey.byteLength), bytes.subarray(FlowKey.byteLength)]
    const listed = resultOrRefusal(() => decodeEntry(key, value, () => TUNNEL), CodecError)
    if (listed === undefined || listed instanceof CodecError) return
    const { rule } = listed
    mustEqualBytes(rule.flow.bytes, key, 'the key of a rule')
    const again = resultOrRefusal(() => encoder.encode(rule, tunnelNumber(value)), RedirectorError)
    // Nobody numbers handoffs that far: such an entry is none of this program's.
    if (again instanceof RedirectorError) {
      must(!Number.isSafeInteger(rule.handoff?.handoff), 'a rule that was decoded is refused')
      return
    }
    must(tunnelNumber(again) === tunnelNumber(value), 'the tunnel')
    const decoded = decodeEntry(key, again, () => TUNNEL)
    must(Bun.deepEquals(decoded?.rule, rule), 'decoded again')
    mustEqualBytes(again.subarray(4, 5), value.subarray(4, 5), 'the action')
    const counters = new DataView(value.buffer, value.byteOffset + RULE_LENGTH - COUNTERS_LENGTH)
    must(listed.counters.packets === counters.getBigUint64(0, true), 'the first counter')
    must(listed.counters.lastSeen === counters.getBigUint64(24, true), 'the last counter')
  },
}
