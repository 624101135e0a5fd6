import type { FlowKey } from '../../flow.ts'
import type { Rule } from '../../redirector.ts'
import { group } from '../case.ts'
import { check, equal } from '../failure.ts'
import { holdsExactly } from '../rules.ts'
import type { Scene } from '../scene.ts'
import { within } from '../time.ts'

const SEED = 0x2545f491

/** Marsaglia, "Xorshift RNGs" (2003): the same numbers everywhere. */
function xorshift(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** A rule for the flow that differs from the one of another turn. */
function numbered(scene: Scene, flow: number, turn: number): Rule {
  const hold: Rule = { action: 'hold', flow: scene.flow(flow), handoff: { handoff: turn, epoch: 1 } }
  const steer: Rule = { ...scene.steer(flow), handoff: { handoff: turn, epoch: 1 } }
  return scene.manifest.holds && turn % 2 === 0 ? hold : steer
}

/** Begins random operations on a few flows, all at once, and compares the end with a table that took them in the order of the calls. */
async function storm(scene: Scene, operations: number, flows: number): Promise<void> {
  const random = xorshift(SEED)
  const model = new Map<number, Rule>()
  const running: Promise<void>[] = []
  for (let turn = 0; turn < operations; turn++) {
    const number = random(flows)
    if (random(3) === 0) {
      const was = model.delete(number)
      running.push(isRemoved(scene, scene.flow(number), was))
    } else {
      const rule = numbered(scene, number, turn)
      model.set(number, rule)
      running.push(scene.redirector.put(rule).then(() => {}))
    }
  }
  await within('operations that were begun at once', scene.limits.test / 2, Promise.all(running))
  await holdsExactly(scene.redirector, model.values(), 'after operations that were begun at once')
}

async function isRemoved(scene: Scene, flow: FlowKey, was: boolean): Promise<void> {
  equal(await scene.redirector.remove(flow), was, `remove() of ${flow} after what was called before`)
}

export const concurrencyCases = group('operations in flight', [
  {
    name: 'on different flows do not disturb each other',
    run: async (scene) => {
      const rules = scene.rules(Math.min(500, scene.manifest.capacity))
      await Promise.all(rules.map((rule) => scene.redirector.put(rule)))
      await holdsExactly(scene.redirector, rules, 'that were put at once')
      const [odd, even] = [1, 0].map((rest) => rules.filter((_, index) => index % 2 === rest)) as [Rule[], Rule[]]
      await Promise.all(odd.map(({ flow }) => isRemoved(scene, flow, true)))
      await holdsExactly(scene.redirector, even, 'when half of them were removed at once')
    },
  },
  {
    name: 'on one flow take effect in the order of the calls: the last put() wins',
    run: async (scene) => {
      const rules = Array.from({ length: 50 }, (_, turn) => numbered(scene, 1, turn))
      await Promise.all(rules.map((rule) => scene.redirector.put(rule)))
      await holdsExactly(scene.redirector, rules.slice(-1), 'after puts that were begun at once')
    },
  },
  {
    name: 'on one flow: a put() and a remove() leave nothing, a remove() and a put() leave the rule',
    run: async (scene) => {
      const { redirector } = scene
      const rule = scene.steer(1)
      for (let round = 0; round < 20; round++) {
        const [, removed] = await Promise.all([redirector.put(rule), redirector.remove(rule.flow)])
        check(removed, 'remove() right after put() says that there was no rule')
        await holdsExactly(redirector, [], 'after put() and remove()')
        await redirector.put(rule)
        await Promise.all([redirector.remove(rule.flow), redirector.put(rule)])
        await holdsExactly(redirector, [rule], 'after remove() and put()')
        await redirector.remove(rule.flow)
      }
    },
  },
  { name: 'at random on eight flows end as the order of the calls says', run: (scene) => storm(scene, 600, 8) },
  { name: 'at random on many flows end as the order of the calls says', run: (scene) => storm(scene, 1000, 60) },
])
