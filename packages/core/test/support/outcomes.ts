import type { HandoffOutcome, Message } from '../../src/index.ts'
import { Scene } from './scene.ts'

export function resultOf(outcome: HandoffOutcome | undefined): string {
  const { result, failure } = outcome ?? {}
  return failure ? `${result}: ${failure.reason}${failure.refusal ? ` ${failure.refusal}` : ''}` : `${result}`
}

/** Counters of what becomes of a connection: exactly one owner, or none where it was reset. */
export function owners(scene: Scene): Record<string, number> {
  return Object.fromEntries(
    (['live', 'released', 'reset', 'owned', 'discarded'] as const).map((state) => [state, scene.count(state)]),
  )
}

export const handedOff = { live: 0, released: 1, reset: 0, owned: 1, discarded: 0 }
export const rolledBack = { live: 1, released: 0, reset: 0, owned: 0, discarded: 0 }
export const rolledBackAfterOffer = { ...rolledBack, discarded: 1 }

/** Runs a handoff in which one message of a type is treated specially. */
export async function withMessage(
  type: Message['type'],
  treat: (scene: Scene, message: Message) => Message[],
): Promise<Scene> {
  const scene = new Scene()
  let done = false
  const filter = (message: Message): Message[] => {
    if (done || message.type !== type) return [message]
    done = true
    return treat(scene, message)
  }
  scene.toServer.filter = filter
  scene.toGateway.filter = filter
  scene.handOff()
  await scene.settle()
  return scene
}
