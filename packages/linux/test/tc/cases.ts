import { MacAddress } from '@xoffload/core'
import {
  addClsact,
  addFlower,
  deleteClsact,
  deleteFlower,
  dumpFlower,
  dumpHook,
  type FlowerFilter,
  type FlowerMatch,
  type FlowerPlace,
  replaceFlower,
  type TcAction,
  type TcRequest,
} from '../../src/netlink/tc/index.ts'

/** A command line of `tc` and the request that must be the same message. The device is lo, which has the index 1 in every namespace. */
export interface OracleCase {
  readonly tc: string
  readonly request: TcRequest
}

const LO = 1
const place: FlowerPlace = { ifindex: LO, direction: 'ingress', chain: 0, priority: 100, handle: 1 }
const at = 'dev lo ingress protocol ip chain 0 pref 100 handle 0x1 flower'

const noConnectionControl = { value: 0, mask: 7 } as const
const tcp4: FlowerMatch = {
  family: 4,
  protocol: 'tcp',
  source: '192.0.2.1',
  destination: '198.51.100.1',
  sourcePort: 40000,
  destinationPort: 80,
  tcpFlags: noConnectionControl,
}
const tcp4Words = 'ip_proto tcp src_ip 192.0.2.1 dst_ip 198.51.100.1 src_port 40000 dst_port 80 tcp_flags 0x0/0x7'
const tcp6: FlowerMatch = { ...tcp4, family: 6, source: '2001:db8::1', destination: '2001:db8:0:1::ffff:2' }
const tcp6Words = tcp4Words.replace('192.0.2.1', '2001:db8::1').replace('198.51.100.1', '2001:db8:0:1::ffff:2')

const macs: TcAction = {
  kind: 'pedit',
  edits: [
    { field: 'eth-destination', value: MacAddress.parse('02:00:00:00:00:01') },
    { field: 'eth-source', value: MacAddress.parse('02:12:34:56:78:9a') },
  ],
}
const macsWords = 'action pedit ex munge eth dst set 02:00:00:00:00:01 munge eth src set 02:12:34:56:78:9a pipe'
const out: TcAction = { kind: 'mirred', ifindex: LO }
const outWords = 'action mirred egress redirect dev lo'

const steer: FlowerFilter = { match: tcp4, actions: [macs, out], offload: 'skip-software' }
const steerWords = `skip_sw ${tcp4Words} ${macsWords} ${outWords}`

function vlan(family: 4 | 6, id: number): OracleCase {
  const match = family === 4 ? tcp4 : tcp6
  const words = `vlan_id ${id} vlan_ethtype ${family === 4 ? 'ip' : 'ipv6'} ${family === 4 ? tcp4Words : tcp6Words}`
  return {
    tc: `filter replace dev lo ingress protocol 802.1q chain 0 pref 102 handle 0x7 flower skip_sw ${words} ${macsWords} ${outWords}`,
    request: replaceFlower({ ...place, priority: 102, handle: 7 }, { ...steer, match: { ...match, vlan: id } }),
  }
}

/** A list of actions behind the same match. */
function acting(words: string, ...actions: TcAction[]): OracleCase {
  return {
    tc: `filter add ${at} ${tcp4Words} ${words}`,
    request: addFlower(place, { ...steer, actions, offload: 'either' }),
  }
}

function cookie(length: number): OracleCase {
  const bytes = Uint8Array.from({ length }, (_, index) => 0x10 + index)
  const filter: FlowerFilter = { ...steer, actions: [out], cookie: bytes }
  return {
    tc: `filter add ${at} skip_sw ${tcp4Words} ${outWords} cookie ${bytes.toHex()}`,
    request: addFlower(place, filter),
  }
}

/** A match with the same actions. */
function matching(words: string, match: Partial<FlowerMatch>): OracleCase {
  const filter: FlowerFilter = { match: { family: 4, ...match }, actions: [out], offload: 'skip-hardware' }
  return { tc: `filter add ${at} skip_hw ${words} ${outWords}`, request: addFlower(place, filter) }
}

export const cases: readonly OracleCase[] = [
  { tc: `filter add ${at} ${steerWords}`, request: addFlower(place, steer) },
  { tc: `filter replace ${at} ${steerWords}`, request: replaceFlower(place, steer) },
  {
    tc: `filter add dev lo egress protocol ipv6 chain 4294967295 pref 65535 handle 0x7fffffff flower skip_hw ${tcp6Words} ${macsWords} ${outWords}`,
    request: addFlower(
      { ifindex: LO, direction: 'egress', chain: 0xffffffff, priority: 0xffff, handle: 0x7fffffff },
      { ...steer, match: tcp6, offload: 'skip-hardware' },
    ),
  },
  vlan(4, 7),
  vlan(6, 4095),
  vlan(4, 0),
  // One action: tc 6.1 repeats the cookie of an action on every action after it.
  cookie(16),
  cookie(3),
  acting(
    `action pedit ex munge ip src set 203.0.113.9 munge ip dst set 203.0.113.10 munge tcp sport set 80 munge tcp dport set 65535 pipe action csum ip and tcp pipe ${outWords}`,
    {
      kind: 'pedit',
      edits: [
        { field: 'ip4-source', value: '203.0.113.9' },
        { field: 'ip4-destination', value: '203.0.113.10' },
        { field: 'tcp-source-port', value: 80 },
        { field: 'tcp-destination-port', value: 65535 },
      ],
    },
    { kind: 'csum', checksums: ['ip4', 'tcp'] },
    out,
  ),
  acting(
    `action pedit ex munge ip6 src set 2001:db8::9 munge ip6 dst set 2001:db8::a munge ip6 hoplimit set 3 pipe action csum tcp and udp pipe ${outWords}`,
    {
      kind: 'pedit',
      edits: [
        { field: 'ip6-source', value: '2001:db8::9' },
        { field: 'ip6-destination', value: '2001:db8::a' },
        { field: 'ip6-hop-limit', value: 3 },
      ],
    },
    { kind: 'csum', checksums: ['tcp', 'udp'] },
    out,
  ),
  acting(
    `action pedit ex munge ip ttl set 7 pipe action csum ip pipe ${outWords}`,
    { kind: 'pedit', edits: [{ field: 'ip4-ttl', value: 7 }] },
    { kind: 'csum', checksums: ['ip4'] },
    out,
  ),
  acting(
    `${macsWords} action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 16777215 dst_port 4789 nocsum pipe ${outWords}`,
    macs,
    {
      kind: 'tunnel_key',
      source: '192.0.2.1',
      destination: '192.0.2.2',
      identifier: 0xffffff,
      destinationPort: 4789,
      checksum: false,
    },
    out,
  ),
  acting(
    `${macsWords} action tunnel_key set src_ip 2001:db8::1 dst_ip 2001:db8::2 id 42 dst_port 8472 csum pipe ${outWords}`,
    macs,
    {
      kind: 'tunnel_key',
      source: '2001:db8::1',
      destination: '2001:db8::2',
      identifier: 42,
      destinationPort: 8472,
      checksum: true,
    },
    out,
  ),
  acting(outWords, out),
  matching('src_mac 02:00:00:00:00:01 dst_mac 02:00:00:00:00:02 ip_proto udp src_port 7 dst_port 65535', {
    sourceMac: MacAddress.parse('02:00:00:00:00:01'),
    destinationMac: MacAddress.parse('02:00:00:00:00:02'),
    protocol: 'udp',
    sourcePort: 7,
    destinationPort: 65535,
  }),
  matching('ip_proto tcp src_ip 0.0.0.0/32 dst_ip 255.255.255.255 src_port 1 dst_port 1 tcp_flags 0x2/0x17', {
    protocol: 'tcp',
    source: '0.0.0.0',
    destination: '255.255.255.255',
    sourcePort: 1,
    destinationPort: 1,
    tcpFlags: { value: 2, mask: 0x17 },
  }),
  matching('ip_proto tcp tcp_flags 0x0/0x7 ip_flags nofrag', {
    protocol: 'tcp',
    tcpFlags: noConnectionControl,
    notFragmented: true,
  }),
  matching('src_ip 192.0.2.77', { source: '192.0.2.77' }),
  {
    tc: 'filter del dev lo ingress protocol ip chain 5 pref 100 handle 0x12345 flower',
    request: deleteFlower({ ...place, chain: 5, handle: 0x12345 }, tcp4),
  },
  {
    tc: 'filter del dev lo ingress protocol 802.1q chain 0 pref 102 handle 0x1 flower',
    request: deleteFlower({ ...place, priority: 102 }, { ...tcp6, vlan: 7 }),
  },
  { tc: 'filter show dev lo ingress chain 0 pref 100', request: dumpFlower(place) },
  {
    tc: 'filter show dev lo egress chain 9 pref 1',
    request: dumpFlower({ ...place, direction: 'egress', chain: 9, priority: 1 }),
  },
  { tc: 'filter show dev lo ingress', request: dumpHook(LO, 'ingress') },
  { tc: 'filter show dev lo egress', request: dumpHook(LO, 'egress') },
  { tc: 'qdisc add dev lo clsact', request: addClsact(LO) },
  { tc: 'qdisc del dev lo clsact', request: deleteClsact(LO) },
]
