import type { Redirector, Rule } from '../../redirector.ts'
import { group } from '../case.ts'
import { abortedWith, check, equal } from '../failure.ts'
import { holdsExactly, listed, ruleText, textFor } from '../rules.ts'
import type { Scene } from '../scene.ts'
import { within } from '../time.ts'

const REASON = new Error('no longer wanted')

/** No more rules than these come out of a listing after it was aborted. */
const LISTED_AFTER_ABORT = 2048

async function drain(rules: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of rules);
}

/** Aborts right after the call. Resolves to whether the operation was carried out; it may only reject with the reason of the abort. */
async function abortAtOnce(scene: Scene, operation: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
  const controller = new AbortController()
  const running = operation(controller.signal)
  controller.abort(REASON)
  try {
    await within('an operation that was aborted', scene.limits.step, running)
    return true
  } catch (error) {
    check(error === REASON, `an aborted operation rejects with ${error}, and not with the reason of the abort`)
    return false
  }
}

async function isWhole(scene: Scene, redirector: Redirector): Promise<void> {
  await redirector.put(scene.steer(9))
  equal(await redirector.remove(scene.flow(9)), true, 'remove() after an abort')
}

export const abortCases = group('abort', [
  {
    name: 'before: open() rejects with the reason, and has not taken the device',
    opened: false,
    run: async (scene) => {
      const redirector = await scene.make()
      await abortedWith(redirector.open({ signal: AbortSignal.abort(REASON) }), REASON, 'open()')
      const other = await scene.open()
      await isWhole(scene, other)
    },
  },
  {
    name: 'before: the other operations reject with the reason, and change nothing',
    run: async (scene) => {
      const { redirector } = scene
      const signal = AbortSignal.abort(REASON)
      await redirector.put(scene.rule(1))
      await abortedWith(redirector.put(scene.rule(2), { signal }), REASON, 'put()')
      const replacement = { ...scene.steer(1), handoff: { handoff: 1, epoch: 1 } } as Rule
      await abortedWith(redirector.put(replacement, { signal }), REASON, 'put() over a rule')
      await abortedWith(redirector.remove(scene.flow(1), { signal }), REASON, 'remove()')
      await abortedWith(redirector.counters(scene.flow(1), { signal }), REASON, 'counters()')
      await abortedWith(drain(redirector.list({ signal })), REASON, 'list()')
      await holdsExactly(redirector, [scene.rule(1)], 'after operations that were aborted')
    },
  },
  {
    name: 'during open(): it is open, or rejects with the reason and is not',
    opened: false,
    run: async (scene) => {
      const redirector = await scene.make()
      const opened = await abortAtOnce(scene, (signal) => redirector.open({ signal }))
      if (!opened) await redirector.open()
      await holdsExactly(redirector, [], 'of a redirector whose open() was aborted')
    },
  },
  {
    name: 'during put(): the rule is there, or it rejects with the reason and is not',
    run: async (scene) => {
      const { redirector } = scene
      const aborts = scene.rules(50).map(async (rule) => {
        const done = await abortAtOnce(scene, (signal) => redirector.put(rule, { signal }))
        return done ? [rule] : []
      })
      const rules = (await Promise.all(aborts)).flat()
      await holdsExactly(redirector, rules, 'after puts that were aborted')
      await isWhole(scene, redirector)
    },
  },
  {
    name: 'during put() over a rule: the old one or the new one is there, as it says',
    run: async (scene) => {
      const { redirector } = scene
      for (let round = 0; round < 20; round++) {
        await redirector.put(scene.steer(1))
        const replacement = { ...scene.steer(1), handoff: { handoff: round, epoch: 1 } } as Rule
        const done = await abortAtOnce(scene, (signal) => redirector.put(replacement, { signal }))
        await holdsExactly(redirector, [done ? replacement : scene.steer(1)], 'after a put() that was aborted')
      }
    },
  },
  {
    name: 'during remove(): the rule is gone, or it rejects with the reason and is not',
    run: async (scene) => {
      const { redirector } = scene
      const rules = scene.rules(50)
      for (const rule of rules) await redirector.put(rule)
      const aborts = rules.map(async (rule) => {
        const done = await abortAtOnce(scene, (signal) => redirector.remove(rule.flow, { signal }))
        return done ? [] : [rule]
      })
      await holdsExactly(redirector, (await Promise.all(aborts)).flat(), 'after removals that were aborted')
    },
  },
  {
    name: 'during counters(): it resolves, or rejects with the reason',
    run: async (scene) => {
      await scene.redirector.put(scene.rule(1))
      await abortAtOnce(scene, (signal) => scene.redirector.counters(scene.flow(1), { signal }))
      await holdsExactly(scene.redirector, [scene.rule(1)], 'after counters() that was aborted')
    },
  },
  {
    name: 'during list(): it soon ends with the reason',
    run: async (scene) => {
      const { redirector } = scene
      const rules = scene.rules(scene.ruleCount(2 * LISTED_AFTER_ABORT))
      await Promise.all(rules.map((rule) => redirector.put(rule)))
      const controller = new AbortController()
      let after = 0
      const reading = async () => {
        for await (const _ of redirector.list({ signal: controller.signal })) {
          if (controller.signal.aborted) after += 1
          else controller.abort(REASON)
        }
      }
      if (rules.length === 2 * LISTED_AFTER_ABORT) await abortedWith(reading(), REASON, 'list()')
      else await reading().catch((error: unknown) => check(error === REASON, `list() rejects with ${error}`))
      check(after <= LISTED_AFTER_ABORT, `list() gives ${after} rules after it was aborted`)
      equal((await listed(redirector)).length, rules.length, 'rules after a listing that was aborted')
    },
  },
  {
    name: 'a signal that fires after its operation has ended changes nothing',
    run: async (scene) => {
      const { redirector } = scene
      const controller = new AbortController()
      const { signal } = controller
      await redirector.put(scene.rule(1), { signal })
      await redirector.put(scene.rule(2), { signal })
      await redirector.remove(scene.flow(2), { signal })
      controller.abort(REASON)
      equal(await textFor(redirector, scene.flow(1)), ruleText(scene.rule(1)), 'the rule')
      await holdsExactly(redirector, [scene.rule(1)], 'after a late abort')
    },
  },
])
