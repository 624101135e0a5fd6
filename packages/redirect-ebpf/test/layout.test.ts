import { describe, expect, test } from 'bun:test'
import { FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { decodeConfig, decodeEntry, encodeConfig, RULE_LENGTH, RuleEncoder } from '../src/layout.ts'

const flow = FlowKey.of({ address: '2001:db8::1', port: 40000 }, { address: '2001:db8::2', port: 443 })
const mac = MacAddress.parse('02:00:5e:10:00:01')
const LARGEST = { handoff: Number.MAX_SAFE_INTEGER, epoch: 0xffff_ffff }

describe('the layout of a rule', () => {
  const rules: [string, Rule][] = [
    ['hold', { action: 'hold', flow }],
    ['hold, silent', { action: 'hold', flow, silent: true }],
    ['steer', { action: 'steer', flow, target: { mode: 'l2', mac } }],
    ['steer, ended', { action: 'steer', flow, target: { mode: 'l2', mac }, ended: true }],
    ['steer, returning', { action: 'steer', flow, target: { mode: 'l2', mac }, returning: true }],
    ['hold of a handoff', { action: 'hold', flow, silent: true, handoff: { handoff: 0, epoch: 0 } }],
    ['steer of a handoff', { action: 'steer', flow, target: { mode: 'l2', mac }, ended: true, handoff: LARGEST }],
  ]

  test.each(rules)('%s survives encoding and decoding, in any order', (_name, rule) => {
    const encoder = new RuleEncoder()
    for (const [, other] of rules) encoder.encode(other)
    const value = encoder.encode(rule)
    expect(value.length).toBe(RULE_LENGTH)
    const listed = decodeEntry(rule.flow.bytes, value)
    expect(listed?.rule).toEqual(rule)
    expect(listed?.counters).toEqual({ packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n })
  })

  test.each([
    [-1, 0],
    [0.5, 0],
    [2 ** 53, 0],
    [0, -1],
    [0, 2 ** 32],
    [0, Number.NaN],
  ])('handoff %p of epoch %p is refused', (handoff, epoch) => {
    expect(() => new RuleEncoder().encode({ action: 'hold', flow, handoff: { handoff, epoch } })).toThrow(
      expect.objectContaining({ reason: 'invalid' }),
    )
  })

  test('an action of another version is not guessed at', () => {
    const value = new Uint8Array(RULE_LENGTH)
    value[4] = 9
    expect(decodeEntry(flow.bytes, value)).toBeUndefined()
  })
})

test('the configuration survives encoding and decoding', () => {
  const config = { device: 7, tap: 70_000, madeClsact: true }
  expect(decodeConfig(encodeConfig(config))).toEqual(config)
})
