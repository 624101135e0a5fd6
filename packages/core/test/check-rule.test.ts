import { describe, expect, test } from 'bun:test'
import { checkRule, FlowKey, MacAddress, RedirectorError, type Rule } from '../src/index.ts'

const flow = FlowKey.of({ address: '192.0.2.1', port: 40000 }, { address: '198.51.100.1', port: 80 })
const mac = MacAddress.parse('02:00:00:00:00:22')
const steer = (target: object, more: object = {}) => ({ action: 'steer', flow, target, ...more }) as unknown as Rule
const vxlan = (more: object) => steer({ mode: 'vxlan', remote: '192.0.2.9', identifier: 7, port: 4789, mac, ...more })

describe('checkRule', () => {
  test.each([
    [{ action: 'hold', flow, handoff: { handoff: 0, epoch: 0 } } as Rule],
    [steer({ mode: 'l2', mac }, { handoff: { handoff: Number.MAX_SAFE_INTEGER, epoch: 2 ** 32 - 1 } })],
    [vxlan({ identifier: 2 ** 24 - 1, port: 65535 })],
    [vxlan({ identifier: 0, port: 1 })],
    [steer({ mode: 'ipip', remote: '2001:db8::1' })],
  ])('lets %j pass', (rule) => {
    expect(() => checkRule(rule)).not.toThrow()
  })

  test.each([
    ['drop', { action: 'drop', flow } as unknown as Rule],
    ['teleport', steer({ mode: 'teleport' })],
    ['handoff -1', steer({ mode: 'l2', mac }, { handoff: { handoff: -1, epoch: 0 } })],
    ['handoff 0.5', steer({ mode: 'l2', mac }, { handoff: { handoff: 0.5, epoch: 0 } })],
    ['epoch 4294967296', { action: 'hold', flow, handoff: { handoff: 0, epoch: 2 ** 32 } } as Rule],
    ['group', steer({ mode: 'l2', mac: MacAddress.parse('01:00:5e:00:00:01') })],
    ['group', vxlan({ mac: MacAddress.parse('ff:ff:ff:ff:ff:ff') })],
    ['identifier', vxlan({ identifier: 2 ** 24 })],
    ['port', vxlan({ port: 0 })],
    ['"nonsense"', vxlan({ remote: 'nonsense' })],
    ['""', steer({ mode: 'ipip', remote: '' })],
    ['"fe80::1%eth0"', steer({ mode: 'ipip', remote: 'fe80::1%eth0' })],
  ])('refuses: %s', (part, rule) => {
    expect(() => checkRule(rule)).toThrow(RedirectorError)
    expect(() => checkRule(rule)).toThrow(part)
  })
})
