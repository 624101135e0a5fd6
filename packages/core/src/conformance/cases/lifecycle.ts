import type { Redirector } from '../../redirector.ts'
import { group } from '../case.ts'
import { check, refused } from '../failure.ts'
import { holdsExactly, listed } from '../rules.ts'
import type { Scene } from '../scene.ts'
import { within } from '../time.ts'

/** Every operation on rules is refused as `gone`. */
async function refusesAll(redirector: Redirector, scene: Scene, when: string): Promise<void> {
  const rule = scene.steer(1)
  await refused(redirector.put(rule), 'gone', `put() ${when}`)
  await refused(redirector.remove(rule.flow), 'gone', `remove() ${when}`)
  await refused(redirector.counters(rule.flow), 'gone', `counters() ${when}`)
  await refused(listed(redirector), 'gone', `list() ${when}`)
}

/** Puts rules, calls `end` while they are being put, and resolves to the rules that were put in time. */
async function endInFlight(scene: Scene, end: () => Promise<void>) {
  const rules = scene.rules(100)
  const puts = rules.map((rule) => scene.redirector.put(rule))
  const settled = Promise.allSettled(puts)
  await within('it', scene.limits.step, end())
  const outcomes = await within('a put in flight', scene.limits.step, settled)
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') await refused(puts[index] as Promise<unknown>, 'gone', 'a put in flight')
  }
  return rules.filter((_, index) => outcomes[index]?.status === 'fulfilled')
}

export const lifecycleCases = group('open and close', [
  {
    name: 'before open() every operation is refused as gone',
    run: async (scene) => {
      await scene.redirector.close()
      await refusesAll(await scene.make(), scene, 'before open()')
    },
  },
  {
    name: 'after close() every operation is refused as gone',
    run: async (scene) => {
      await scene.redirector.put(scene.rule(1))
      await scene.redirector.close()
      await refusesAll(scene.redirector, scene, 'after close()')
    },
  },
  {
    name: 'after release() every operation is refused as gone',
    run: async (scene) => {
      await scene.redirector.put(scene.rule(1))
      await scene.redirector.release()
      await refusesAll(scene.redirector, scene, 'after release()')
    },
  },
  {
    name: 'a listing that has begun ends with gone when the redirector is closed',
    run: async (scene) => {
      for (const rule of scene.rules(3)) await scene.redirector.put(rule)
      const rules = scene.redirector.list()[Symbol.asyncIterator]()
      await rules.next()
      await scene.redirector.close()
      // What it has read already it may still give.
      const rest = async () => {
        for (let count = 0; count < 3; count++) if ((await rules.next()).done === true) return
      }
      await refused(rest(), 'gone', 'a listing')
    },
  },
  {
    name: 'close() and release() may be called before open(), and again and again',
    opened: false,
    run: async (scene) => {
      const redirector = await scene.make()
      for (const end of ['close', 'release', 'close'] as const) await redirector[end]()
      await redirector.open()
      for (const end of ['close', 'close', 'release', 'close'] as const) await redirector[end]()
      await redirector.open()
      await holdsExactly(redirector, [], 'of a redirector that was opened again')
    },
  },
  {
    name: 'close() removes all rules',
    run: async (scene) => {
      for (const rule of scene.rules(10)) await scene.redirector.put(rule)
      await scene.redirector.close()
      await holdsExactly(await scene.open(), [], 'that the next owner finds')
    },
  },
  {
    name: 'a second open() of the same redirector is refused as busy, and harms nothing',
    run: async (scene) => {
      const rules = scene.rules(3)
      for (const rule of rules) await scene.redirector.put(rule)
      await refused(scene.redirector.open(), 'busy', 'open() of an open redirector')
      await holdsExactly(scene.redirector, rules, 'after that')
    },
  },
  {
    name: 'a device has one owner: the next one is refused as busy, and harms nothing',
    run: async (scene) => {
      const rules = scene.rules(3)
      for (const rule of rules) await scene.redirector.put(rule)
      const other = await scene.make()
      await refused(other.open(), 'busy', 'open() of a device that has an owner')
      await other.close()
      await holdsExactly(scene.redirector, rules, 'after that')
      await scene.redirector.close()
      await other.open()
      await holdsExactly(other, [], 'of the next owner')
    },
  },
  {
    name: 'close() with operations in flight: they end, and no rule is left',
    run: async (scene) => {
      await endInFlight(scene, () => scene.redirector.close())
      await holdsExactly(await scene.open(), [], 'that the next owner finds')
    },
  },
  {
    name: 'release() with operations in flight: they end, and what was put is there',
    run: async (scene) => {
      const rules = await endInFlight(scene, () => scene.redirector.release())
      await holdsExactly(await scene.open(), rules, 'that the next owner finds')
    },
  },
  {
    name: 'open() and close() again and again',
    run: async (scene) => {
      for (let round = 0; round < 10; round++) {
        await scene.redirector.put(scene.rule(round))
        await scene.redirector.close()
        await scene.redirector.open()
      }
      check((await listed(scene.redirector)).length === 0, 'rules are left')
    },
  },
])
