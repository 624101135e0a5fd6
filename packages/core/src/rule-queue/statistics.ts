import { DurationHistogram, type DurationSummary } from './duration-histogram.ts'
import type { WithdrawnState } from './flow-commands.ts'

/** What has become of the commands of a rule queue since it was made. Durations are in microseconds. */
export interface RuleQueueStatistics {
  /** Insertions and removals that wait now. */
  readonly waitingInsertions: number
  readonly waitingRemovals: number
  /** The most commands that have ever waited at a time. */
  readonly longest: number
  /** Flows of which the hardware has a rule, or may have one. */
  readonly flows: number
  /** Commands that the hardware was given, and carried out. */
  readonly inserted: number
  readonly removed: number
  /** Insertions that were withdrawn, by the state in which that found them. Those in `waiting` cost nothing. */
  readonly cancelled: Readonly<Record<WithdrawnState, number>>
  /** Waiting insertions in whose place came a newer one of the same flow. */
  readonly replaced: number
  /** Insertions that were not taken: the queue was full, or the hardware had not answered for too long. */
  readonly refused: number
  /** Insertions that had waited for too long. */
  readonly expired: number
  /** Commands that the hardware has rejected. */
  readonly failedInsertions: number
  readonly failedRemovals: number
  /** Removals whose caller has waited for as long as it could. */
  readonly unproven: number
  /** Commands that the hardware had not answered within the time limit, and whether there is such a one now. */
  readonly stalls: number
  readonly stalled: boolean
  /** From the call to the start, of the insertions and removals that were started. */
  readonly insertionWait: DurationSummary
  readonly removalWait: DurationSummary
  /** From the start to the hardware's answer. */
  readonly insertionTime: DurationSummary
  readonly removalTime: DurationSummary
}

/** The counters behind {@link RuleQueueStatistics}. */
export class RuleQueueCounters {
  longest = 0
  inserted = 0
  removed = 0
  readonly cancelled: Record<WithdrawnState, number> = { waiting: 0, executing: 0, installed: 0 }
  replaced = 0
  refused = 0
  expired = 0
  failedInsertions = 0
  failedRemovals = 0
  unproven = 0
  stalls = 0
  readonly insertionWait = new DurationHistogram()
  readonly removalWait = new DurationHistogram()
  readonly insertionTime = new DurationHistogram()
  readonly removalTime = new DurationHistogram()

  /** A copy, with what the queue knows about now. */
  with(
    now: Pick<RuleQueueStatistics, 'waitingInsertions' | 'waitingRemovals' | 'flows' | 'stalled'>,
  ): RuleQueueStatistics {
    return {
      ...this,
      ...now,
      cancelled: { ...this.cancelled },
      insertionWait: this.insertionWait.summary(),
      removalWait: this.removalWait.summary(),
      insertionTime: this.insertionTime.summary(),
      removalTime: this.removalTime.summary(),
    }
  }
}
