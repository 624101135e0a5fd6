import type { Clock, ErrorListener } from '../ports.ts'
import type { Redirector } from '../redirector.ts'
import type { RuleQueueLimits } from '../rule-queue/options.ts'
import type { RuleQueueStatistics } from '../rule-queue/statistics.ts'

/** Which flows are worth a rule in hardware, and what looking for them may cost. Times are in milliseconds. */
export interface HybridPolicy {
  /** A flow must have sent so many bytes under its rule (what its client sends: of a download, the acknowledgements), … */
  readonly minimumBytes: number
  /** … be that old since it was first seen with them, … */
  readonly minimumAge: number
  /** … and have sent so many packets in a second meanwhile. */
  readonly minimumPacketsPerSecond: number
  /** A flow of which that many bytes are expected (`expectedBytes` of its rule) is promoted at once. */
  readonly expectedBytes: number
  /** A flow without a packet for so long is demoted. */
  readonly idle: number
  /** When the hardware is full, a flow takes the place of the one worth least if it is worth so many times as much, … */
  readonly hysteresis: number
  /** … and that one has had its place for so long. */
  readonly minimumStay: number
  /** How long nothing is promoted after hardware has failed: doubled with each failure up to `maximumBackOff`. */
  readonly backOff: number
  readonly maximumBackOff: number
  /** How long a flow that the hardware has refused, or did nothing for, is not promoted. */
  readonly penalty: number
  /** How often it works on what follows. */
  readonly tick: number
  /** How many rules it looks at in a tick: of the software redirector to find flows, and of the hardware to watch those it has. */
  readonly rulesPerTick: number
  /** The pause after it has looked at all rules of the software redirector (longer when that took long), and at all of the hardware. */
  readonly scanPause: number
  readonly watchPause: number
  /** How many flows it keeps in mind at a time as worth another look. */
  readonly candidates: number
  /** How long it waits for the hardware's counters. Then it takes those that it has read before. */
  readonly counterLimit: number
}

export const DEFAULT_HYBRID_POLICY: HybridPolicy = {
  minimumBytes: 65_536,
  minimumAge: 200,
  minimumPacketsPerSecond: 50,
  expectedBytes: 2 * 1024 * 1024,
  idle: 10_000,
  hysteresis: 2,
  minimumStay: 2000,
  backOff: 100,
  maximumBackOff: 30_000,
  penalty: 60_000,
  tick: 20,
  rulesPerTick: 256,
  scanPause: 100,
  watchPause: 500,
  candidates: 1024,
  counterLimit: 100,
}

export interface HybridRedirectorOptions {
  /** Takes every flow. What it can do is what the hybrid can do. */
  readonly software: Redirector
  /** Sees packets before `software` does, and leaves to it those without a rule, and SYN, FIN and RST of those with one. */
  readonly hardware: Redirector
  readonly clock: Clock
  readonly policy?: Partial<HybridPolicy>
  readonly queue?: Partial<RuleQueueLimits>
  /** Told of what the hardware does wrong, and nobody waits for. The rate is limited by the back-off. */
  readonly onError?: ErrorListener
}

/** Why a flow's rule was taken out of the hardware, though it stays in software. */
export type DemotionReason =
  /** Nobody has sent anything. */
  | 'idle'
  /** Another flow was worth more. */
  | 'displaced'
  /** Its packets went on arriving in software: the hardware took the rule, and did nothing. */
  | 'inert'
  /** The hardware did not have it any more. */
  | 'lost'

/** What has happened since {@link HybridRedirector.open}. */
export interface HybridStatistics {
  /** Flows whose rule the hardware has now. */
  readonly offloaded: number
  /** Rules that the hardware has taken, and those of them that the size hint was the reason for. */
  readonly promoted: number
  readonly hinted: number
  readonly demoted: Readonly<Record<DemotionReason, number>>
  /** Rules that were in the hardware, and nobody knew why. They were removed. */
  readonly strays: number
  /** Flows that were worth it, while the hardware was full of others worth more, or was left alone after a failure. */
  readonly passedOver: number
  /** Insertions that have failed one after another. Nothing is promoted for a while after each. */
  readonly failures: number
  /** Flows that are kept in mind as worth another look. */
  readonly candidates: number
  /** How often all rules of the software redirector were looked at, and how long the last time took, in milliseconds. */
  readonly scans: number
  readonly scanTime: number
  readonly queue: RuleQueueStatistics
}
