import { MacAddress } from '../../mac.ts'
import type { Rule, SteerMode, SteerTarget } from '../../redirector.ts'
import { type GroupedCase, group } from '../case.ts'
import { equal, refused } from '../failure.ts'
import { holdsExactly, targetOf } from '../rules.ts'
import type { Scene } from '../scene.ts'

/** Each of these is refused, and the rule that was there stays. */
async function areRefused(scene: Scene, rules: readonly unknown[]): Promise<void> {
  const { redirector } = scene
  const before = scene.steer(1)
  await redirector.put(before)
  for (const rule of rules) {
    const what = `put() of ${JSON.stringify(rule)}`
    await refused(redirector.put(rule as Rule), ['invalid', 'unsupported'], what)
    await holdsExactly(redirector, [before], `after ${what}`)
  }
  equal(await redirector.remove(before.flow), true, 'remove() of the rule that was there')
}

const REFERENCES = [
  [-1, 0],
  [0.5, 0],
  [2 ** 53, 0],
  [Number.NaN, 0],
  [0, -1],
  [0, 0.5],
  [0, 2 ** 32],
] as const

const TUNNEL_MISTAKES: readonly Record<string, unknown>[] = [
  { remote: 'nonsense' },
  { remote: '' },
  { identifier: -1 },
  { identifier: 2 ** 24 },
  { identifier: 0.5 },
  { port: 0 },
  { port: 65536 },
]

function tunnelCase(mode: SteerMode): GroupedCase {
  return {
    name: `a target of mode ${mode} that cannot be`,
    absence: ({ manifest }) => (manifest.steerModes.includes(mode) ? undefined : `manifest: no steer mode ${mode}`),
    run: (scene) => {
      const target = targetOf(mode, scene.device.network, scene.family)
      const mistakes = TUNNEL_MISTAKES.filter((mistake) => Object.keys(mistake).every((key) => key in target))
      return areRefused(
        scene,
        mistakes.map((mistake) => ({ ...scene.steer(1), target: { ...target, ...mistake } })),
      )
    },
  }
}

export const badInputCases = group('bad input is refused, and changes nothing', [
  {
    name: 'a handoff that is no safe integer, an epoch that is no u32',
    run: (scene) =>
      areRefused(
        scene,
        REFERENCES.flatMap(([handoff, epoch]) => ({ ...scene.steer(1), handoff: { handoff, epoch } })),
      ),
  },
  {
    name: 'an action that does not exist',
    run: (scene) => areRefused(scene, [{ ...scene.steer(1), action: 'drop' }]),
  },
  {
    name: 'a steer mode that does not exist',
    run: (scene) => areRefused(scene, [{ ...scene.steer(1), target: { ...scene.target, mode: 'teleport' } }]),
  },
  {
    name: 'a MAC address of a group as target',
    absence: ({ manifest }) => (manifest.steerModes.includes('l2') ? undefined : 'manifest: no steer mode l2'),
    run: (scene) => {
      const targets = ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01'].map(
        (text): SteerTarget => ({ mode: 'l2', mac: MacAddress.parse(text) }),
      )
      return areRefused(
        scene,
        targets.map((target) => ({ ...scene.steer(1), target })),
      )
    },
  },
  tunnelCase('vxlan'),
  tunnelCase('ipip'),
])
