import { FlowKey } from '../../flow.ts'
import type { HandoffReference } from '../../protocol/messages.ts'
import type { Rule, SteerMode } from '../../redirector.ts'
import { FAMILIES, type GroupedCase, group } from '../case.ts'
import { check, equal, refused } from '../failure.ts'
import { flowOf, holdsExactly, listed, OTHER_TARGET, putOptional, steer, targetOf } from '../rules.ts'
import type { Scene } from '../scene.ts'

const MODES: readonly SteerMode[] = ['l2', 'vxlan', 'ipip']

const REFERENCES: readonly HandoffReference[] = [
  { handoff: 0, epoch: 0 },
  { handoff: 2 ** 32, epoch: 1 },
  { handoff: Number.MAX_SAFE_INTEGER, epoch: 2 ** 32 - 1 },
]

/** A rule is put, listed and removed, twice. */
async function comesAndGoes({ redirector }: Scene, rule: Rule): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const outcome = await redirector.put(rule)
    check(outcome === 'accepted' || outcome === 'active', `put() resolves to ${outcome}`)
    await holdsExactly(redirector, [rule], 'after put()')
    equal(await redirector.remove(rule.flow), true, 'remove() of a rule')
    await holdsExactly(redirector, [], 'after remove()')
    equal(await redirector.remove(rule.flow), false, 'remove() of no rule')
  }
}

/** What the manifest says is absent is refused, and nothing comes of it. */
async function isUnsupported({ redirector }: Scene, rule: Rule): Promise<void> {
  await refused(redirector.put(rule), 'unsupported', 'put() of what the manifest says is absent')
  equal(await redirector.remove(rule.flow), false, 'remove() after the refusal')
  await holdsExactly(redirector, [], 'after the refusal')
}

const withoutHold = ({ manifest }: Scene) => (manifest.holds ? undefined : 'manifest: it does not hold')

const familyCases = FAMILIES.map((family): GroupedCase => {
  const rule = (scene: Scene) => steer(flowOf(family, 1), scene.target)
  return {
    name: `flows of IPv${family}`,
    absence: ({ manifest }) => (manifest.families.includes(family) ? undefined : `manifest: no IPv${family}`),
    whenAbsent: (scene) => isUnsupported(scene, rule(scene)),
    run: (scene) => comesAndGoes(scene, rule(scene)),
  }
})

const modeCases = MODES.map((mode): GroupedCase => {
  const rule = (scene: Scene) => steer(scene.flow(1), targetOf(mode, scene.device.network, scene.family))
  return {
    name: `steering in mode ${mode}`,
    absence: ({ manifest }) => (manifest.steerModes.includes(mode) ? undefined : `manifest: no steer mode ${mode}`),
    whenAbsent: (scene) => isUnsupported(scene, rule(scene)),
    run: (scene) => comesAndGoes(scene, rule(scene)),
  }
})

const optionCases = (['ended', 'returning'] as const).map(
  (option): GroupedCase => ({
    name: `a steer rule that says "${option}" keeps it`,
    run: async (scene) => {
      const rule = { ...scene.steer(1), [option]: true } as Rule
      await putOptional(scene.redirector, rule)
      await holdsExactly(scene.redirector, [rule], 'after put()')
      await scene.redirector.put(scene.steer(1))
      await holdsExactly(scene.redirector, [scene.steer(1)], `after it was replaced by one that is not "${option}"`)
    },
  }),
)

export const ruleCases = group('rules', [
  ...familyCases,
  ...modeCases,
  {
    name: 'hold',
    absence: withoutHold,
    whenAbsent: (scene) => isUnsupported(scene, { action: 'hold', flow: scene.flow(1) }),
    run: (scene) => comesAndGoes(scene, { action: 'hold', flow: scene.flow(1) }),
  },
  {
    name: 'a hold rule that says "silent" keeps it',
    absence: withoutHold,
    whenAbsent: (scene) => isUnsupported(scene, { action: 'hold', flow: scene.flow(1), silent: true }),
    run: async (scene) => {
      const loud: Rule = { action: 'hold', flow: scene.flow(1) }
      await comesAndGoes(scene, { ...loud, silent: true })
      for (const rule of [loud, { ...loud, silent: true }, loud]) {
        await scene.redirector.put(rule)
        await holdsExactly(scene.redirector, [rule], 'after put()')
      }
    },
  },
  ...optionCases,
  {
    name: 'put() replaces the rule of its flow, and no other',
    run: async (scene) => {
      const { redirector } = scene
      await redirector.put(scene.steer(1))
      await redirector.put(scene.steer(2))
      const kinds: Rule[] = [scene.steer(1), { ...scene.steer(1), handoff: { handoff: 1, epoch: 2 } } as Rule]
      if (scene.manifest.holds) kinds.push({ action: 'hold', flow: scene.flow(1) })
      if (scene.manifest.steerModes.includes('l2')) kinds.push(steer(scene.flow(1), OTHER_TARGET))
      for (const rule of [...kinds, ...kinds.reverse()]) {
        await redirector.put(rule)
        await holdsExactly(redirector, [rule, scene.steer(2)], 'after put() over another rule')
      }
    },
  },
  {
    name: 'flows that differ in one part only have rules of their own',
    run: async (scene) => {
      const { client, service } = scene.flow(1)
      const [otherClient, otherService] =
        scene.family === 4 ? ['192.0.3.1', '198.51.101.1'] : ['2001:db9::1', '2001:dba::1']
      const flows = [
        FlowKey.of(client, service),
        FlowKey.of({ ...client, address: otherClient }, service),
        FlowKey.of({ ...client, port: client.port + 1 }, service),
        FlowKey.of(client, { ...service, address: otherService }),
        FlowKey.of(client, { ...service, port: service.port + 1 }),
        // The other direction is another flow.
        FlowKey.of(service, client),
      ]
      for (const flow of flows) await scene.redirector.put(steer(flow, scene.target))
      for (let left = flows.length; left > 0; left--) {
        const rules = flows.slice(0, left).map((flow) => steer(flow, scene.target))
        await holdsExactly(scene.redirector, rules, `with ${left} of ${flows.length} flows`)
        await scene.redirector.remove(flows[left - 1] as FlowKey)
      }
    },
  },
  {
    name: 'the handoff that a rule belongs to is kept',
    run: async (scene) => {
      for (const handoff of REFERENCES) {
        const rules = scene.rules(3).map((rule) => ({ ...rule, handoff }))
        for (const rule of rules) await scene.redirector.put(rule)
        await holdsExactly(scene.redirector, rules, 'that belong to a handoff')
      }
      const plain = scene.rules(3)
      for (const rule of plain) await scene.redirector.put(rule)
      await holdsExactly(scene.redirector, plain, 'that belong to no handoff any more')
    },
  },
  {
    name: 'the bytes that are expected are a hint, and not kept',
    run: async (scene) => {
      await scene.redirector.put({ ...scene.steer(1), expectedBytes: 1_000_000_000 } as Rule)
      const [found] = await listed(scene.redirector)
      check(found !== undefined && !('expectedBytes' in found.rule), 'the listing has a rule with its expectedBytes')
      await holdsExactly(scene.redirector, [scene.steer(1)], 'after put()')
    },
  },
  {
    name: 'a rule is what it was when put() was called',
    run: async (scene) => {
      const rule = scene.steer(1)
      const put = scene.redirector.put(rule)
      Object.assign(rule, { flow: scene.flow(2) })
      await put
      await scene.redirector.put(scene.steer(3))
      await holdsExactly(scene.redirector, [scene.steer(1), scene.steer(3)], 'after its object was changed')
    },
  },
])
