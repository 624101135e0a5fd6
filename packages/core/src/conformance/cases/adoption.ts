import type { Rule } from '../../redirector.ts'
import { group } from '../case.ts'
import { check, equal } from '../failure.ts'
import { holdsExactly } from '../rules.ts'
import type { Scene } from '../scene.ts'

/** Rules with everything that one can say and every redirector keeps. */
function richRules(scene: Scene): Rule[] {
  const steered = scene.steer(1)
  const handedOff = { ...scene.steer(2), handoff: { handoff: 7_000_000_000, epoch: 4_000_000_000 } } as Rule
  const held: Rule[] = [
    { action: 'hold', flow: scene.flow(3) },
    { action: 'hold', flow: scene.flow(4), silent: true, handoff: { handoff: 8, epoch: 9 } },
  ]
  return [steered, handedOff, ...(scene.manifest.holds ? held : [])]
}

const noCrash = ({ device }: Scene) =>
  device.crash === undefined ? 'the factory has no way to kill an owner' : undefined

export const adoptionCases = group('adoption', [
  {
    name: 'the next owner finds the rules of one that released the device, whole',
    run: async (scene) => {
      const rules = richRules(scene)
      for (const rule of rules) await scene.redirector.put(rule)
      await scene.redirector.release()
      await scene.redirector.release()
      await holdsExactly(await scene.open(), rules, 'that were adopted')
    },
  },
  {
    name: 'the next owner finds the rules of a process that was killed, whole',
    absence: noCrash,
    run: async (scene) => {
      const rules = richRules(scene)
      await scene.redirector.close()
      await scene.device.crash?.(rules)
      await holdsExactly(await scene.open(), rules, 'that were adopted')
    },
  },
  {
    name: 'rules stay when the process that adopted them is killed as well',
    absence: noCrash,
    run: async (scene) => {
      const rules = scene.rules(3)
      for (const rule of rules) await scene.redirector.put(rule)
      await scene.redirector.release()
      const more = scene.rules(2, 3)
      await scene.device.crash?.(more)
      await holdsExactly(await scene.open(), [...rules, ...more], 'that were adopted')
    },
  },
  {
    name: 'adopted rules are rules like others: counted, replaced, removed',
    run: async (scene) => {
      for (const number of [1, 2, 3]) await scene.redirector.put(scene.steer(number))
      await scene.redirector.release()
      const next = await scene.open()
      check((await next.counters(scene.flow(1))) !== undefined, 'an adopted rule has no counters')
      equal(await next.remove(scene.flow(1)), true, 'remove() of an adopted rule')
      const replacement = { ...scene.steer(2), handoff: { handoff: 1, epoch: 1 } } as Rule
      await next.put(replacement)
      await holdsExactly(next, [replacement, scene.steer(3)], 'after the changes')
      await next.close()
      await holdsExactly(await scene.open(), [], 'after the adopter has closed')
    },
  },
  {
    name: 'a redirector may open again what it released',
    run: async (scene) => {
      const rules = scene.rules(3)
      for (const rule of rules) await scene.redirector.put(rule)
      for (let round = 0; round < 3; round++) {
        await scene.redirector.release()
        await scene.redirector.open()
      }
      await holdsExactly(scene.redirector, rules, 'after three rounds')
    },
  },
  {
    name: 'one that has released the device harms the next owner no more',
    run: async (scene) => {
      await scene.redirector.put(scene.rule(1))
      await scene.redirector.release()
      const next = await scene.open()
      await next.put(scene.rule(2))
      await scene.redirector.close()
      await scene.redirector.release()
      await holdsExactly(next, scene.rules(2, 1), 'of the next owner')
      await next.put(scene.rule(3))
      await holdsExactly(next, scene.rules(3, 1), 'of the next owner')
    },
  },
])
