import type { MacAddress } from '@xoffload/core'
import { inNetworkNamespace, type Link, Rtnetlink, setDeviceFeatures } from '@xoffload/linux'
import type { Testbed } from '@xoffload/testbed'

/** One end of a veth pair. */
export interface LinkEnd {
  readonly name: string
  readonly ifindex: number
  readonly mac: MacAddress
  /** Runs a synchronous function in its network namespace. */
  inside<Result>(task: () => Result): Result
}

/** A veth pair between two hosts of a testbed, `inner` on the first, without addresses or a bridge. */
export interface PacketLink {
  readonly inner: LinkEnd
  readonly outer: LinkEnd
}

const NAMES = { inner: 'inner', outer: 'outer' } as const

/** Makes the pair. Both ends take what XDP sends to them: they have GRO, which gives veth the queue for it. */
export async function makePacketLink(testbed: Testbed): Promise<PacketLink> {
  const [inner, outer] = testbed.hosts
  if (inner === undefined || outer === undefined) throw new Error('a link needs two hosts')
  await inner.ip(`link add ${NAMES.inner} type veth peer name ${NAMES.outer} netns ${outer.namespace}`)
  await inner.ip(`link set ${NAMES.inner} up`)
  await outer.ip(`link set ${NAMES.outer} up`)
  return { inner: prepare(inner.namespacePath, NAMES.inner), outer: prepare(outer.namespacePath, NAMES.outer) }
}

function prepare(namespacePath: string, name: string): LinkEnd {
  const inside = <Result>(task: () => Result): Result => inNetworkNamespace(namespacePath, task)
  return inside(() => {
    const { index, mac } = find(name)
    if (mac === undefined) throw new Error(`${name} has no MAC address`)
    setDeviceFeatures(index, { 'rx-gro': true })
    return { name, ifindex: index, mac, inside }
  })
}

function find(name: string): Link {
  using rtnetlink = new Rtnetlink()
  const link = rtnetlink.link(name)
  if (link === undefined) throw new Error(`there is no device ${name}`)
  return link
}
