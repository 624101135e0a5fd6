import { type ListedRule, type PutOutcome, type Redirector, RedirectorError, type Rule } from '@xoffload/core'
import type { DeviceUnderTest } from '@xoffload/core/conformance'

/** A redirector, or the silicon beneath it, that does one thing wrong. */
export interface Breakage {
  readonly what: string
  /** The beginning of the name of the test that finds it. */
  readonly caughtBy: string
  readonly breaks: (device: DeviceUnderTest) => DeviceUnderTest
}

type Changes = { -readonly [name in keyof Redirector]?: Redirector[name] }

/** The device with redirectors that do some things in another way. */
function changing(change: (redirector: Redirector) => Changes): Breakage['breaks'] {
  return (device) => ({
    ...device,
    redirector: async (request) => {
      const it = await device.redirector(request)
      return {
        manifest: it.manifest,
        open: (options) => it.open(options),
        close: () => it.close(),
        release: () => it.release(),
        put: (rule, options) => it.put(rule, options),
        remove: (flow, options) => it.remove(flow, options),
        counters: (flow, options) => it.counters(flow, options),
        list: (options) => it.list(options),
        ...change(it),
      }
    },
  })
}

/** Puts every rule after a change to it. */
function puttingInstead(change: (rule: Rule) => Rule): Breakage['breaks'] {
  return changing((it) => ({ put: (rule, options) => it.put(change(rule), options) }))
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 1))

async function* listedBy(rules: readonly ListedRule[]): AsyncGenerator<ListedRule> {
  yield* rules
}

async function all(redirector: Redirector): Promise<ListedRule[]> {
  const rules: ListedRule[] = []
  for await (const rule of redirector.list()) rules.push(rule)
  return rules
}

/** What a redirector may do wrong with its rules. */
export const breakages: readonly Breakage[] = [
  {
    what: 'the manifest changes',
    caughtBy: 'manifest: does not change',
    breaks: changing((it) => {
      const manifest = { ...it.manifest }
      return { manifest, put: (rule) => it.put(rule).finally(() => Object.assign(manifest, { capacity: 1 })) }
    }),
  },
  {
    what: 'the manifest has no room for a flow',
    caughtBy: 'manifest: says what can be',
    breaks: changing((it) => ({ manifest: { ...it.manifest, capacity: 0 } })),
  },
  {
    what: 'the manifest says that it does not hold, and it holds',
    caughtBy: 'rules: hold',
    breaks: changing((it) => ({ manifest: { ...it.manifest, holds: false } })),
  },
  {
    what: 'the manifest says that it has no IPv6, and it has',
    caughtBy: 'rules: flows of IPv6',
    breaks: changing((it) => ({ manifest: { ...it.manifest, families: [4] } })),
  },
  {
    what: 'operations work after close()',
    caughtBy: 'open and close: after close()',
    breaks: changing((it) => {
      const refusedTooLate = async (): Promise<PutOutcome> => 'active'
      return { put: (rule, options) => it.put(rule, options).catch(refusedTooLate) }
    }),
  },
  {
    what: 'an operation after close() throws an error without a type',
    caughtBy: 'open and close: after close()',
    breaks: changing((it) => ({
      counters: (flow, options) =>
        it.counters(flow, options).catch((error: Error) => {
          throw new Error(error.message)
        }),
    })),
  },
  {
    what: 'close() leaves the rules',
    caughtBy: 'open and close: close() removes all rules',
    breaks: changing((it) => ({ close: () => it.release() })),
  },
  {
    what: 'release() removes the rules',
    caughtBy: 'adoption: the next owner finds the rules of one that released',
    breaks: changing((it) => ({ release: () => it.close() })),
  },
  {
    what: 'a second owner is let in',
    caughtBy: 'open and close: a device has one owner',
    breaks: changing((it) => ({ open: () => it.open().catch(() => {}) })),
  },
  {
    what: 'opening twice is refused with the wrong reason',
    caughtBy: 'open and close: a second open()',
    breaks: changing((it) => ({
      open: () =>
        it.open().catch(() => {
          throw new RedirectorError('unsupported', 'no')
        }),
    })),
  },
  {
    what: 'remove() always says that there was a rule',
    caughtBy: 'rules: flows of IPv4',
    breaks: changing((it) => ({ remove: (flow, options) => it.remove(flow, options).then(() => true) })),
  },
  {
    what: 'put() resolves before the rule is there',
    caughtBy: 'rules: steering in mode l2',
    breaks: changing((it) => ({
      put: async (rule) => {
        setTimeout(() => void it.put(rule).catch(() => {}), 1)
        return 'active'
      },
    })),
  },
  {
    what: 'the number of the handoff is cut to 32 bits',
    caughtBy: 'rules: the handoff that a rule belongs to',
    breaks: puttingInstead((rule) =>
      rule.handoff ? { ...rule, handoff: { ...rule.handoff, handoff: rule.handoff.handoff % 2 ** 32 } } : rule,
    ),
  },
  {
    what: 'the flag "silent" is forgotten',
    caughtBy: 'rules: a hold rule that says "silent"',
    breaks: puttingInstead((rule) => (rule.action === 'hold' ? { ...rule, silent: false } : rule)),
  },
  {
    what: 'the flag "ended" is forgotten',
    caughtBy: 'rules: a steer rule that says "ended"',
    breaks: puttingInstead((rule) => (rule.action === 'steer' ? { ...rule, ended: false } : rule)),
  },
  {
    what: 'a rule without a handoff keeps that of the rule before it',
    caughtBy: 'rules: the handoff that a rule belongs to',
    breaks: changing((it) => {
      const last = new Map<string, Rule['handoff']>()
      return {
        put: (rule) => {
          const handoff = rule.handoff ?? last.get(rule.flow.id)
          last.set(rule.flow.id, handoff)
          return it.put(handoff === undefined ? rule : { ...rule, handoff })
        },
      }
    }),
  },
  {
    what: 'bad input is taken',
    caughtBy: 'bad input is refused, and changes nothing: a handoff',
    breaks: puttingInstead(({ handoff: _, ...rule }) => rule as Rule),
  },
  {
    what: 'a refused rule takes the old one along',
    caughtBy: 'bad input is refused, and changes nothing: a steer mode',
    breaks: changing((it) => ({
      put: (rule, options) =>
        it.put(rule, options).catch(async (error) => {
          await it.remove(rule.flow).catch(() => {})
          throw error
        }),
    })),
  },
  {
    what: 'the counters are those of the flow, whatever its rule',
    caughtBy: 'packets that are steered: are counted',
    breaks: changing((it) => {
      const before = new Map<string, bigint>()
      return {
        put: async (rule, options) => {
          const packets = (await it.counters(rule.flow))?.packets ?? 0n
          before.set(rule.flow.id, (before.get(rule.flow.id) ?? 0n) + packets)
          return it.put(rule, options)
        },
        counters: async (flow) => {
          const now = await it.counters(flow)
          return now && { ...now, packets: now.packets + (before.get(flow.id) ?? 0n) }
        },
      }
    }),
  },
  {
    what: 'counters of no rule are zeros',
    caughtBy: 'counters: there are none without a rule',
    breaks: changing((it) => ({
      counters: async (flow, options) =>
        (await it.counters(flow, options)) ?? { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n },
    })),
  },
  {
    what: 'the listing has a rule twice',
    caughtBy: 'list: has each rule once',
    breaks: changing((it) => ({
      async *list(options) {
        let first = true
        for await (const rule of it.list(options)) {
          if (first) yield rule
          first = false
          yield rule
        }
      },
    })),
  },
  {
    what: 'the listing goes on after it was aborted',
    caughtBy: 'abort: during list()',
    breaks: changing((it) => ({
      async *list(options) {
        options?.signal?.throwIfAborted()
        yield* listedBy(await all(it))
      },
    })),
  },
  {
    what: 'signals are ignored',
    caughtBy: 'abort: before: the other operations',
    breaks: changing((it) => ({ put: (rule) => it.put(rule), remove: (flow) => it.remove(flow) })),
  },
  {
    what: 'an aborted put() rejects, and puts the rule all the same',
    caughtBy: 'abort: during put(): the rule is there',
    breaks: changing((it) => ({
      put: async (rule, options) => {
        await tick()
        const outcome = await it.put(rule)
        options?.signal?.throwIfAborted()
        return outcome
      },
    })),
  },
  {
    what: 'an abort rejects with an error of its own',
    caughtBy: 'abort: before: open()',
    breaks: changing((it) => ({
      open: async (options) => {
        if (options?.signal?.aborted === true) throw new Error('aborted')
        return it.open(options)
      },
    })),
  },
  {
    what: 'a full table takes the place of another rule',
    caughtBy: 'capacity: one more is refused',
    breaks: changing((it) => ({
      put: (rule) =>
        it.put(rule).catch(async (error) => {
          const [first] = error.reason === 'full' ? await all(it) : []
          if (first === undefined) throw error
          await it.remove(first.rule.flow)
          return it.put(rule)
        }),
    })),
  },
  {
    what: 'a full table refuses to replace a rule',
    caughtBy: 'capacity: a rule is replaced',
    breaks: changing((it) => ({
      put: async (rule) => {
        if ((await all(it)).length >= it.manifest.capacity) throw new RedirectorError('full', 'no room')
        return it.put(rule)
      },
    })),
  },
  {
    what: 'there is less room than the manifest says',
    caughtBy: 'capacity: as many flows have room',
    breaks: changing((it) => ({ manifest: { ...it.manifest, capacity: it.manifest.capacity + 1 } })),
  },
  {
    what: 'operations on one flow overtake each other',
    caughtBy: 'operations in flight: on one flow take effect',
    breaks: changing((it) => {
      let turn = 0
      return {
        put: async (rule) => {
          for (let waits = 3 - (++turn % 3); waits > 0; waits--) await tick()
          return it.put(rule)
        },
      }
    }),
  },
  {
    what: 'put() is done in two steps',
    caughtBy: 'packets while rules change: take one rule or the other when hold and steer',
    breaks: changing((it) => ({
      put: async (rule, options) => {
        await it.remove(rule.flow)
        await Promise.resolve()
        return it.put(rule, options)
      },
    })),
  },
]
