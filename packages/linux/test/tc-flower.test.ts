// What was encoded is decoded again: filters, counters, answers, features.
import { describe, expect, test } from 'bun:test'
import { MacAddress } from '@xoffload/core'
import { Random } from '../../core/test/support/fuzz/index.ts'
import { decodeDevlinkPort, decodeEswitchMode, decodeParameter } from '../src/netlink/devlink.ts'
import { decodeFeatures } from '../src/netlink/ethtool.ts'
import { NetlinkBody, netlinkAttributes } from '../src/netlink/message.ts'
import { attributes } from '../src/netlink/tc/attributes.ts'
import {
  addFlower,
  decodeAcknowledgement,
  decodeFlower,
  type FlowerPlace,
  replaceFlower,
} from '../src/netlink/tc/index.ts'
import { decodeActionStatistics } from '../src/netlink/tc/statistics.ts'
import { anyFilter } from './fuzz/tc.ts'

const place: FlowerPlace = { ifindex: 7, direction: 'ingress', chain: 3, priority: 0x8001, handle: 0x7fffffff }

test('a filter is decoded as it was encoded, whatever is in it', () => {
  for (let seed = 0; seed < 500; seed++) {
    const filter = anyFilter(new Random([seed]))
    const found = decodeFlower(replaceFlower(place, filter).body)
    expect(found).toMatchObject({ place, kind: 'flower', offload: filter.offload, inHardware: false, hardwareCount: 0 })
    expect(found.match).toEqual(filter.match)
    const actions = found.actions.map(({ action }) => action)
    const sorted = actions.map((action) => JSON.stringify(action?.kind === 'pedit' ? withSortedEdits(action) : action))
    expect(sorted).toEqual(
      filter.actions.map((action) => JSON.stringify(action.kind === 'pedit' ? withSortedEdits(action) : action)),
    )
    if (filter.actions.length > 0) expect(found.actions[0]?.cookie).toEqual(filter.cookie)
  }
})

/** The order of fields is not told. */
function withSortedEdits<Edits extends { readonly edits: readonly { readonly field: string }[] }>(action: Edits) {
  return { ...action, edits: action.edits.toSorted((a, b) => a.field.localeCompare(b.field)) }
}

describe('what cannot be encoded is refused', () => {
  const mac = MacAddress.parse('02:00:00:00:00:01')
  const filter = { match: { family: 4 }, actions: [{ kind: 'mirred', ifindex: 1 }], offload: 'either' } as const
  test.each<[string, () => unknown]>([
    ['handle 0', () => addFlower({ ...place, handle: 0 }, filter)],
    ['priority 0', () => addFlower({ ...place, priority: 0 }, filter)],
    ['priority 65536', () => addFlower({ ...place, priority: 65536 }, filter)],
    [
      'an address of the other family',
      () => addFlower(place, { ...filter, match: { family: 4, source: '2001:db8::1' } }),
    ],
    ['a port without a protocol', () => addFlower(place, { ...filter, match: { family: 4, sourcePort: 80 } })],
    ['port 65536', () => addFlower(place, { ...filter, match: { family: 4, protocol: 'tcp', sourcePort: 65536 } })],
    ['VLAN 4096', () => addFlower(place, { ...filter, match: { family: 4, vlan: 4096 } })],
    ['a cookie of 17 bytes', () => addFlower(place, { ...filter, cookie: new Uint8Array(17) })],
    [
      'an IPv6 address in an IPv4 header',
      () =>
        addFlower(place, { ...filter, actions: [{ kind: 'pedit', edits: [{ field: 'ip4-source', value: '::1' }] }] }),
    ],
    [
      'a hop limit of 256',
      () =>
        addFlower(place, { ...filter, actions: [{ kind: 'pedit', edits: [{ field: 'ip6-hop-limit', value: 256 }] }] }),
    ],
    [
      'more words than fit',
      () =>
        addFlower(place, {
          ...filter,
          actions: [{ kind: 'pedit', edits: Array(128).fill({ field: 'eth-source', value: mac }) }],
        }),
    ],
  ])('%s', (_, encode) => {
    expect(encode).toThrow(expect.objectContaining({ errno: 'EINVAL' }))
  })
})

test('counters: the count in 64 bits belongs to the counters in front of it', () => {
  const basic = (packets: number, bytes: bigint) => {
    const value = new Uint8Array(16)
    new DataView(value.buffer).setBigUint64(0, bytes, true)
    new DataView(value.buffer).setUint32(8, packets, true)
    return value
  }
  const wide = (packets: bigint) => new Uint8Array(new BigUint64Array([packets]).buffer)
  const time = new Uint8Array(new BigUint64Array([9n, 123n, 0n, 0n]).buffer)
  const both = attributes().attribute(1, basic(7, 700n)).attribute(7, basic(5, 500n))
  expect(decodeActionStatistics(both.bytes, time)).toEqual({
    total: { packets: 7n, bytes: 700n },
    hardware: { packets: 5n, bytes: 500n },
    idleMilliseconds: 1230,
  })
  const large = attributes()
    .attribute(1, basic(7, 700n))
    .attribute(8, wide(2n ** 32n + 7n))
    .attribute(7, basic(5, 500n))
  expect(decodeActionStatistics(large.bytes, undefined)).toEqual({
    total: { packets: 2n ** 32n + 7n, bytes: 700n },
    hardware: { packets: 5n, bytes: 500n },
    idleMilliseconds: undefined,
  })
})

describe('an answer', () => {
  const answer = (errno: number, flags: number, echoed: number, text?: string) => {
    const fixed = new Uint8Array(4 + echoed)
    new DataView(fixed.buffer).setInt32(0, -errno, true)
    new DataView(fixed.buffer).setUint32(4, echoed, true)
    const body = new NetlinkBody(fixed)
    if (text !== undefined) body.text(1, text)
    return decodeAcknowledgement({ type: 2, flags, sequence: 9, body: body.bytes })
  }

  test('says what was done, what was refused, and in which words', () => {
    expect(answer(0, 0, 16)).toEqual({ sequence: 9, errno: undefined, text: undefined })
    expect(answer(95, 0x300, 16, 'no')).toEqual({ sequence: 9, errno: 'EOPNOTSUPP', text: 'no' })
    expect(answer(0, 0x300, 16, 'warning')).toEqual({ sequence: 9, errno: undefined, text: 'warning' })
  })

  test('may repeat the whole request in front of the words', () => {
    expect(answer(28, 0x200, 40, 'full')).toEqual({ sequence: 9, errno: 'ENOSPC', text: 'full' })
  })
})

test('features are read from either form of a bit set', () => {
  const named = (name: string, active: boolean) => {
    const bit = attributes().u32(1, 3).text(2, name)
    return active ? bit.attribute(3, new Uint8Array()) : bit
  }
  const list = attributes().nested(1, named('rx-gro', true)).nested(1, named('hw-tc-offload', false))
  const masked = attributes().u32(2, 64).nested(3, list)
  const plain = attributes().attribute(1, new Uint8Array()).u32(2, 64).nested(3, list)
  const reply = netlinkAttributes(attributes().nested(2, plain).nested(4, masked).bytes)
  expect(decodeFeatures(reply)).toEqual({
    active: new Set(['rx-gro']),
    changeable: new Set(['rx-gro', 'hw-tc-offload']),
  })
})

test('devlink tells port, switch mode and parameters', () => {
  const value = (mode: number, text: string) => attributes().text(86, text).attribute(87, Uint8Array.of(mode))
  const values = attributes().nested(85, value(2, 'dmfs')).nested(85, value(0, 'smfs'))
  const parameter = attributes().text(81, 'flow_steering_mode').nested(84, values)
  const body = attributes().text(1, 'pci').text(2, '0000:03:00.0').u32(6, 7).attribute(25, Uint8Array.of(1, 0))
  const reply = netlinkAttributes(body.nested(80, parameter).bytes)
  expect(decodeDevlinkPort(reply)).toEqual({ ifindex: 7, handle: { bus: 'pci', device: '0000:03:00.0' } })
  expect(decodeEswitchMode(reply)).toBe('switchdev')
  expect(decodeParameter(reply)).toBe('smfs')
})
