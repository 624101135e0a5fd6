import { describe, expect, test } from 'bun:test'
import { FlowKey, MacAddress, type Rule } from '@xoffload/core'
import { decodeConfig, encodeConfig } from '../src/layout.ts'
import { decodeEntry, RULE_LENGTH, RuleEncoder, tunnelNumber } from '../src/rule-layout.ts'
import { decodeTunnel, encodeTunnel, type TunnelTarget } from '../src/tunnel-layout.ts'

const flow = FlowKey.of({ address: '2001:db8::1', port: 40000 }, { address: '2001:db8::2', port: 443 })
const mac = MacAddress.parse('02:00:5e:10:00:01')
const TUNNEL: TunnelTarget = { mode: 'ipip', remote: '192.0.2.9' }
const NUMBER = 0x89abcdef
const LARGEST = { handoff: Number.MAX_SAFE_INTEGER, epoch: 0xffff_ffff }

describe('the layout of a rule', () => {
  const rules: [string, Rule][] = [
    ['hold', { action: 'hold', flow }],
    ['hold, silent', { action: 'hold', flow, silent: true }],
    ['steer', { action: 'steer', flow, target: { mode: 'l2', mac } }],
    ['steer through a tunnel', { action: 'steer', flow, target: TUNNEL, handoff: LARGEST }],
    ['steer, ended', { action: 'steer', flow, target: { mode: 'l2', mac }, ended: true }],
    ['steer, returning', { action: 'steer', flow, target: { mode: 'l2', mac }, returning: true }],
    ['hold of a handoff', { action: 'hold', flow, silent: true, handoff: { handoff: 0, epoch: 0 } }],
    ['steer of a handoff', { action: 'steer', flow, target: { mode: 'l2', mac }, ended: true, handoff: LARGEST }],
  ]

  test.each(rules)('%s survives encoding and decoding, in any order', (_name, rule) => {
    const encoder = new RuleEncoder()
    for (const [, other] of rules) encoder.encode(other)
    const value = encoder.encode(rule, NUMBER)
    expect(value.length).toBe(RULE_LENGTH)
    const listed = decodeEntry(rule.flow.bytes, value, (number) => (number === NUMBER ? TUNNEL : undefined))
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
    expect(decodeEntry(flow.bytes, value, () => undefined)).toBeUndefined()
  })

  test('a tunnel that nobody knows is not guessed at', () => {
    const value = new RuleEncoder().encode({ action: 'steer', flow, target: TUNNEL }, NUMBER)
    expect(tunnelNumber(value)).toBe(NUMBER)
    expect(decodeEntry(flow.bytes, value, () => undefined)).toBeUndefined()
  })
})

test('the configuration survives encoding and decoding', () => {
  const config = { device: 7, tap: 70_000, madeClsact: true, mac }
  expect(decodeConfig(encodeConfig(config))).toEqual(config)
})

describe('the layout of a tunnel', () => {
  const path = { ifindex: 3, source: '192.0.2.1', mtu: 1500 }
  const targets: TunnelTarget[] = [
    TUNNEL,
    { mode: 'ipip', remote: '2001:db8::9' },
    { mode: 'vxlan', remote: '192.0.2.9', identifier: 0xff_ffff, port: 4789, mac },
    { mode: 'vxlan', remote: '2001:db8::9', identifier: 0, port: 65535, mac },
  ]

  test.each(targets)('%p survives encoding and decoding, with a path and without', (target) => {
    const source = target.remote.includes(':') ? '2001:db8::1' : '192.0.2.1'
    expect(decodeTunnel(encodeTunnel(target, { ...path, source }))).toEqual(target)
    expect(decodeTunnel(encodeTunnel(target, undefined))).toEqual(target)
  })

  test.each([
    { mode: 'ipip', remote: '192.0.2' },
    { mode: 'ipip', remote: 'fe80::1%eth0' },
    { mode: 'vxlan', remote: '192.0.2.9', identifier: 2 ** 24, port: 4789, mac },
    { mode: 'vxlan', remote: '192.0.2.9', identifier: 1, port: 0, mac },
  ] as const)('%p is refused', (target) => {
    expect(() => encodeTunnel(target, path)).toThrow(expect.objectContaining({ reason: 'invalid' }))
  })

  test('a mode of another version is not guessed at', () => {
    expect(decodeTunnel(encodeTunnel(TUNNEL, path).fill(9, 0, 1))).toBeUndefined()
  })
})
