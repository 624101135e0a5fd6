import { type ControlLimits, defaultControlLimits } from '../control/index.ts'

/** The limits of control channels as the configuration has them: `snapshotBytes` is the length of the longest message, an offer. */
export function channelLimits({
  snapshotBytes,
  messages,
}: {
  readonly snapshotBytes: number
  readonly messages: number
}): Partial<ControlLimits> {
  return { message: snapshotBytes, outgoing: Math.max(defaultControlLimits.outgoing, snapshotBytes), messages }
}
