import { MacAddress } from '@xoffload/core'
import { type FuzzTarget, must, mutated, type Random, resultOrRefusal } from '../../../core/test/support/fuzz/index.ts'
import { LinuxError } from '../../src/errno.ts'
import { decodeDevlinkPort, decodeEswitchMode, decodeParameter } from '../../src/netlink/devlink.ts'
import { decodeFeatures } from '../../src/netlink/ethtool.ts'
import { NetlinkBody, netlinkAttributes } from '../../src/netlink/message.ts'
import { NETLINK_HEADER } from '../../src/netlink/reply.ts'
import { attributes } from '../../src/netlink/tc/attributes.ts'
import {
  addFlower,
  decodeAcknowledgement,
  decodeFlower,
  type FlowerFilter,
  type TcAction,
} from '../../src/netlink/tc/index.ts'
import { decodeActionStatistics } from '../../src/netlink/tc/statistics.ts'

/** A filter with whatever one can have. */
export function anyFilter(random: Random): FlowerFilter {
  const family = random.pick([4, 6] as const)
  const address = () =>
    family === 4 ? [...random.bytes(4)].join('.') : `2001:db8::${random.below(0x10000).toString(16)}`
  const mac = () => MacAddress.from(random.bytes(6))
  const actions: TcAction[] = [
    {
      kind: 'pedit',
      edits: [
        { field: 'eth-destination', value: mac() },
        { field: 'eth-source', value: mac() },
        ...(family === 4 ? ([{ field: 'ip4-source', value: address() }] as const) : []),
        { field: 'tcp-destination-port', value: random.below(0x10000) },
      ],
    },
    { kind: 'csum', checksums: random.oneIn(2) ? ['ip4', 'tcp'] : ['tcp'] },
    {
      kind: 'tunnel_key',
      source: address(),
      destination: address(),
      identifier: random.below(0x1000000),
      destinationPort: random.below(0x10000),
      checksum: random.oneIn(2),
    },
    { kind: 'mirred', ifindex: random.u32() },
  ]
  return {
    match: {
      family,
      ...(random.oneIn(2) ? { vlan: random.below(0x1000) } : {}),
      protocol: random.pick(['tcp', 'udp'] as const),
      source: address(),
      destination: address(),
      sourcePort: random.below(0x10000),
      destinationPort: random.below(0x10000),
      ...(random.oneIn(2) ? { tcpFlags: { value: random.below(256), mask: random.below(256) } } : {}),
      ...(random.oneIn(2) ? { notFragmented: true } : {}),
    },
    actions: actions.filter(() => !random.oneIn(4)),
    offload: random.pick(['skip-hardware', 'skip-software', 'either'] as const),
    ...(random.oneIn(2) ? { cookie: random.bytes(1 + random.below(16)) } : {}),
  }
}

function encoded(random: Random): Uint8Array {
  const place = { ifindex: 7, direction: 'ingress', chain: random.u32(), priority: 1 + random.below(0xffff) } as const
  return addFlower({ ...place, handle: 1 + random.below(0xffff) }, anyFilter(random)).body
}

/** A filter from the kernel. */
export const flowerFilters: FuzzTarget = {
  name: 'netlink-flower',
  generate: (random) => mutated(random, [encoded(random), encoded(random)]),
  check(input) {
    const filter = resultOrRefusal(() => decodeFlower(input), LinuxError)
    if (filter instanceof LinuxError) return
    must(filter.place.priority <= 0xffff && filter.place.priority >= 0, 'a priority has 16 bits')
    for (const { cookie, action } of filter.actions) {
      must(cookie === undefined || cookie.length <= input.length, 'a cookie lies in its message')
      if (action?.kind !== 'pedit') continue
      for (const { field, value } of action.edits) {
        if (field === 'tcp-destination-port') must(value >= 0 && value <= 0xffff, 'a port has 16 bits')
      }
    }
  },
}

/** Counters, the answers to requests, and what ethtool and devlink say. */
export const netlinkDetails: FuzzTarget = {
  name: 'netlink-details',
  generate(random) {
    const bit = attributes().u32(1, random.u32()).text(2, 'hw-tc-offload').attribute(3, new Uint8Array())
    const bits = attributes().u32(2, 64).nested(3, attributes().nested(1, bit))
    const value = attributes().text(86, 'smfs').attribute(87, Uint8Array.of(0))
    const parameter = attributes().text(81, 'flow_steering_mode').nested(84, attributes().nested(85, value))
    const basic = attributes()
      .attribute(1, random.bytes(16))
      .attribute(8, random.bytes(8))
      .attribute(7, random.bytes(16))
    return mutated(random, [
      attributes().nested(2, bits).nested(4, bits).bytes,
      attributes()
        .nested(80, parameter)
        .text(1, 'pci')
        .text(2, '0000:03:00.0')
        .u32(6, 7)
        .attribute(25, Uint8Array.of(1, 0)).bytes,
      basic.bytes,
      new NetlinkBody(random.bytes(4 + NETLINK_HEADER)).text(1, 'table is full').bytes,
    ])
  },
  check(input) {
    const parts = netlinkAttributes(input)
    const features = resultOrRefusal(() => decodeFeatures(parts), LinuxError)
    if (!(features instanceof LinuxError)) must(features.active.size <= input.length, 'a name takes a byte or more')
    resultOrRefusal(() => decodeDevlinkPort(parts), LinuxError)
    resultOrRefusal(() => decodeEswitchMode(parts), LinuxError)
    resultOrRefusal(() => decodeParameter(parts), LinuxError)
    const statistics = resultOrRefusal(() => decodeActionStatistics(input, input), LinuxError)
    if (!(statistics instanceof LinuxError)) must(statistics.total.packets >= 0n, 'a counter is not negative')
    for (const flags of [0, 0x200, 0x300]) {
      const message = { type: 2, flags, sequence: 1, body: input }
      resultOrRefusal(() => decodeAcknowledgement(message), LinuxError)
    }
  },
}
