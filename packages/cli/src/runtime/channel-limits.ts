import { type ControlLimits, defaultControlLimits } from '../control/index.ts'

/** The limits of a control channel whose longest message, an offer with a snapshot, has `snapshotBytes` bytes. */
export function channelLimits(snapshotBytes: number): Partial<ControlLimits> {
  return { message: snapshotBytes, outgoing: Math.max(defaultControlLimits.outgoing, snapshotBytes) }
}
