/** How fast a NIC takes rules, as XO has measured it (NSDI'26): microseconds for one rule. */
export interface NicProfile {
  readonly name: string
  readonly insertMicroseconds: number
  readonly removeMicroseconds: number
  /**
   * When a rule that was taken becomes active: before the insertion returns, or this many microseconds later. The firmware of an Agilio is
   * told of a rule and does not answer.
   */
  readonly activation: 'on-return' | number
}

export const NIC_PROFILES = {
  cx5: { name: 'cx5', insertMicroseconds: 476, removeMicroseconds: 404, activation: 'on-return' },
  cx7: { name: 'cx7', insertMicroseconds: 2143, removeMicroseconds: 1134, activation: 'on-return' },
  agilio: { name: 'agilio', insertMicroseconds: 68, removeMicroseconds: 65, activation: 0 },
} as const satisfies Record<string, NicProfile>
