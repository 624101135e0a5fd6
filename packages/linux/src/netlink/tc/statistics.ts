import { netlinkAttributes, viewOf } from '../message.ts'
import { attributesInOrder, fields } from './attributes.ts'

/** TCA_STATS_* (include/uapi/linux/gen_stats.h). */
const STATS_BASIC = 1
const STATS_BASIC_HW = 7
const STATS_PKT64 = 8
/** `bytes` (64 bits) and `packets` (32 bits) of `struct gnet_stats_basic`. */
const BASIC_LENGTH = 12
/** `install` and `lastuse` of `struct tcf_t` (include/uapi/linux/pkt_cls.h). */
const TIME_LENGTH = 16
/** USER_HZ, the unit of times in `struct tcf_t`: 100 on x86-64 and arm64. */
const MILLISECONDS_PER_TICK = 10

/** What has passed an action. */
export interface ActionTraffic {
  readonly packets: bigint
  readonly bytes: bigint
}

export interface ActionStatistics {
  /** Executed by the kernel and by the NIC together. */
  readonly total: ActionTraffic
  /** Executed by the NIC, as its driver has reported it. */
  readonly hardware: ActionTraffic
  /** How long ago the last packet was seen, in milliseconds, in steps of 10; undefined when the kernel does not say. */
  readonly idleMilliseconds: number | undefined
}

const NOTHING: ActionTraffic = { packets: 0n, bytes: 0n }

/**
 * Reads TCA_ACT_STATS. `time` is the action's TCA_*_TM attribute. The kernel writes the count of packets in 64 bits right behind the
 * counters that it belongs to, and only when it does not fit in 32 (`gnet_stats_copy_basic`). Throws {@link LinuxError} EBADMSG.
 */
export function decodeActionStatistics(statistics: Uint8Array, time: Uint8Array | undefined): ActionStatistics {
  const traffic = { total: NOTHING, hardware: NOTHING }
  let last: keyof typeof traffic = 'total'
  for (const { type, value } of attributesInOrder(statistics)) {
    if (type === STATS_BASIC || type === STATS_BASIC_HW) {
      last = type === STATS_BASIC ? 'total' : 'hardware'
      const view = fields('TCA_STATS_BASIC', value, BASIC_LENGTH)
      traffic[last] = { bytes: view.getBigUint64(0, true), packets: BigInt(view.getUint32(8, true)) }
    } else if (type === STATS_PKT64) {
      traffic[last] = { ...traffic[last], packets: fields('TCA_STATS_PKT64', value, 8).getBigUint64(0, true) }
    }
  }
  return { ...traffic, idleMilliseconds: time && idleTime(time) }
}

/** The attribute with the times of an action's options: TCA_PEDIT_TM, TCA_MIRRED_TM and TCA_TUNNEL_KEY_TM are 1, TCA_CSUM_TM is 2. */
export function actionTime(kind: string, options: Uint8Array): Uint8Array | undefined {
  return netlinkAttributes(options).get(kind === 'csum' ? 2 : 1)
}

function idleTime(time: Uint8Array): number | undefined {
  if (time.length < TIME_LENGTH) return undefined
  return Number(viewOf(time).getBigUint64(8, true)) * MILLISECONDS_PER_TICK
}
