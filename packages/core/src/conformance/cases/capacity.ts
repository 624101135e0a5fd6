import { inBatches } from '../batches.ts'
import { type GroupedCase, group } from '../case.ts'
import { check, equal, refused } from '../failure.ts'
import { holdsExactly, listed } from '../rules.ts'
import type { Scene } from '../scene.ts'

/** What the suite asks of the factory. */
const WANTED = 64
/** The largest table that it fills. */
const FILLED = 20_000
const MANY = 10_000

const tooLarge = ({ manifest: { capacity } }: Scene) =>
  capacity > FILLED
    ? `room for ${capacity} flows is more than is filled here, and the factory makes no less`
    : undefined

function full(name: string, run: GroupedCase['run']): GroupedCase {
  return {
    name,
    request: { capacity: WANTED },
    absence: tooLarge,
    run: async (scene) => {
      await inBatches(scene.rules(scene.manifest.capacity), (rule) => scene.redirector.put(rule))
      await run(scene)
    },
  }
}

export const capacityCases = group('capacity', [
  full('as many flows have room as the manifest says', (scene) =>
    holdsExactly(scene.redirector, scene.rules(scene.manifest.capacity), 'of a full redirector'),
  ),
  full('one more is refused as full, and nothing is lost', async (scene) => {
    const { redirector, manifest } = scene
    for (const more of [0, 1, 2])
      await refused(redirector.put(scene.rule(manifest.capacity + more)), 'full', 'one more')
    await holdsExactly(redirector, scene.rules(manifest.capacity), 'after the refusals')
  }),
  full('a rule is replaced where no other has room', async (scene) => {
    const replacement = { ...scene.steer(0), handoff: { handoff: 1, epoch: 1 } } as const
    await scene.redirector.put(replacement)
    const others = scene.rules(scene.manifest.capacity - 1, 1)
    await holdsExactly(scene.redirector, [replacement, ...others], 'after a rule was replaced')
  }),
  full('a removal makes room for another', async (scene) => {
    const { redirector, manifest } = scene
    for (let turn = 0; turn < 3; turn++) {
      equal(await redirector.remove(scene.flow(turn)), true, 'remove()')
      await redirector.put(scene.rule(manifest.capacity + turn))
    }
    await holdsExactly(redirector, scene.rules(manifest.capacity, 3), 'of a redirector that is full again')
  }),
  {
    name: 'ten thousand rules (or all that have room) are put, listed and removed',
    run: async (scene) => {
      const { redirector } = scene
      const rules = scene.rules(scene.ruleCount(MANY))
      await inBatches(rules, (rule) => redirector.put(rule))
      await holdsExactly(redirector, rules, 'after so many puts')
      await inBatches(rules, async ({ flow }) => equal(await redirector.remove(flow), true, `remove() of ${flow}`))
      check((await listed(redirector)).length === 0, 'rules are left after each was removed')
    },
  },
])
