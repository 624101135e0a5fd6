import type { StepTimes } from '@xoffload/core'

/** A step of a handoff whose time is taken. */
export type Step = keyof StepTimes

/** The steps in the order in which they are made, and what each is. */
export const STEPS: Readonly<Record<Step, string>> = {
  lock: 'Putting the hold rule.',
  take: 'From asking the server that has the connection until its offer is here.',
  freeze: 'Freezing the socket.',
  snapshot: "Reading the socket's state.",
  silence: 'Making the hold silent.',
  offer: 'From the offer to the accept.',
  restore: 'Part of `offer`: restoring the socket.',
  steer: 'Replacing hold by steer.',
  commit: 'From the commit until the target has confirmed it.',
  adopt: 'Part of `commit`: the application taking the connection.',
  total: 'All of it.',
}

export const STEP_NAMES = Object.keys(STEPS) as readonly Step[]
