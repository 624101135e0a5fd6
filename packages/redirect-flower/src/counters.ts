import type { FlowCounters } from '@xoffload/core'
import type { ListedFlower } from '@xoffload/linux'
import type { FlowerProfile } from './profile.ts'

const ETHERNET_HEADER = 14n
const VLAN_TAG = 4n
const NANOSECONDS_PER_MILLISECOND = 1_000_000n

/**
 * What a filter has seen. Flower has no counters of its own: those of the first action are read. Of a NIC only what the NIC has
 * counted is evidence, not what the kernel may have done in its place. `now`: CLOCK_MONOTONIC, in nanoseconds.
 */
export function countersOf(filter: ListedFlower, profile: FlowerProfile, now: bigint): FlowCounters {
  const statistics = filter.actions[0]?.statistics
  const traffic = profile.offload === 'nic' ? statistics?.hardware : statistics?.total
  const packets = traffic?.packets ?? 0n
  if (statistics === undefined || traffic === undefined || packets === 0n) {
    return { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n }
  }
  const header = ETHERNET_HEADER + (filter.match?.vlan === undefined ? 0n : VLAN_TAG)
  const idle = BigInt(statistics.idleMilliseconds ?? 0) * NANOSECONDS_PER_MILLISECOND
  return {
    packets,
    bytes: traffic.bytes + (profile.countsLinkHeader ? 0n : header * packets),
    egressPackets: 0n,
    // 0 is for "never".
    lastSeen: now > idle ? now - idle : 1n,
  }
}
