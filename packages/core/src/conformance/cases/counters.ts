import type { FlowCounters, Rule } from '../../redirector.ts'
import { group } from '../case.ts'
import { check, equal } from '../failure.ts'
import { listed } from '../rules.ts'

function areZero(counters: FlowCounters | undefined, when: string): void {
  check(counters !== undefined, `counters ${when}: there are none`)
  for (const key of ['packets', 'bytes', 'egressPackets', 'lastSeen'] as const)
    equal(counters[key], 0n, `${key} ${when}`)
}

export const counterCases = group('counters', [
  {
    name: 'there are none without a rule',
    run: async (scene) => {
      const none = async (number: number, when: string) =>
        check((await scene.redirector.counters(scene.flow(number))) === undefined, `there are counters ${when}`)
      await none(1, 'of no rule')
      await scene.redirector.put(scene.rule(1))
      await none(2, 'of another flow')
      await scene.redirector.remove(scene.flow(1))
      await none(1, 'after remove()')
    },
  },
  {
    name: 'they are zero after put(), also over another rule',
    run: async (scene) => {
      const rules: Rule[] = [scene.rule(3), scene.steer(3), scene.rule(3)]
      for (const rule of rules) {
        await scene.redirector.put(rule)
        areZero(await scene.redirector.counters(rule.flow), 'after put()')
      }
    },
  },
  {
    name: 'the listing has them too',
    run: async (scene) => {
      for (const rule of scene.rules(5)) await scene.redirector.put(rule)
      for (const { counters } of await listed(scene.redirector)) areZero(counters, 'in the listing')
    },
  },
])
