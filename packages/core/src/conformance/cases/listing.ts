import { group } from '../case.ts'
import { check, equal } from '../failure.ts'
import { holdsExactly, listed } from '../rules.ts'
import { pause } from '../time.ts'

/** How many rules stay as they are while others come and go. */
const STABLE = 2000
const CHANGING = 200
const YIELD_EVERY = 64
/** A listing that has so many times as many rules as there are goes on for ever. */
const ENDLESS = 10

export const listingCases = group('list', [
  { name: 'has nothing to list at first', run: (scene) => holdsExactly(scene.redirector, [], 'of a new redirector') },
  {
    name: 'has each rule once that stays while others are put and removed',
    run: async (scene) => {
      const { redirector, manifest } = scene
      const stable = Math.min(scene.ruleCount(STABLE), Math.floor(manifest.capacity / 2))
      const changing = Math.min(CHANGING, manifest.capacity - stable)
      await Promise.all(scene.rules(stable).map((rule) => redirector.put(rule)))
      let left = true
      const change = async () => {
        for (let turn = 0; left; turn++) {
          const rule = scene.rule(stable + (turn % changing))
          if (turn % (2 * changing) < changing) await redirector.put(rule)
          else await redirector.remove(rule.flow)
          // The runner's clock must go on too.
          if (turn % YIELD_EVERY === 0) await pause(0)
        }
      }
      const changes = change()
      try {
        for (let round = 0; round < 3; round++) {
          const seen = new Map<string, number>()
          let count = 0
          for await (const { rule } of redirector.list()) {
            seen.set(rule.flow.id, (seen.get(rule.flow.id) ?? 0) + 1)
            count += 1
            check(count < ENDLESS * (stable + changing), 'a listing has no end while rules are put and removed')
          }
          for (let number = 0; number < stable; number++) {
            const flow = scene.flow(number)
            equal(seen.get(flow.id), 1, `how often ${flow} is listed, which does not change`)
          }
        }
      } finally {
        left = false
        await changes
      }
    },
  },
  {
    name: 'may be left early, and taken again',
    run: async (scene) => {
      const { redirector } = scene
      const rules = scene.rules(20)
      for (const rule of rules) await redirector.put(rule)
      for (let round = 0; round < 5; round++) {
        for await (const _ of redirector.list()) break
      }
      await redirector.remove(scene.flow(0))
      await holdsExactly(redirector, rules.slice(1), 'after listings that were left early')
    },
  },
  {
    name: 'may be taken several times at once',
    run: async (scene) => {
      const rules = scene.rules(50)
      for (const rule of rules) await scene.redirector.put(rule)
      const listings = await Promise.all([1, 2, 3].map(() => listed(scene.redirector)))
      for (const each of listings)
        check(each.length === rules.length, `one of three listings has ${each.length} of 50 rules`)
    },
  },
])
