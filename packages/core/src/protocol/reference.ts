import type { HandoffReference } from './messages.ts'

/** Whether both name the same handoff. What is absent names none. */
export function sameHandoff(one: HandoffReference | undefined, other: HandoffReference | undefined): boolean {
  return one !== undefined && one.handoff === other?.handoff && one.epoch === other.epoch
}

/** The reference alone, of something that has more to it. */
export function referenceOf({ handoff, epoch }: HandoffReference): HandoffReference {
  return { handoff, epoch }
}

/** A key for a `Map` of handoffs of many gateways: references are unique for one gateway only. `host` is its name. */
export function handoffKey(host: string, { handoff, epoch }: HandoffReference): string {
  return `${host}/${epoch}/${handoff}`
}
