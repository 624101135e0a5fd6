// Rules that nobody has removed, as when the redirector has failed to, are found and removed (invariant 8).
import { beforeEach, expect, test } from 'bun:test'
import { type Clock, FlowKey, type ListedRule, MacAddress, type Rule } from '@xoffload/core'
import { StaleRules } from '../../src/gateway/stale-rules.ts'

const MINUTE = 60_000
const target = { mode: 'l2', mac: MacAddress.parse('02:00:00:00:00:01') } as const
const flowOf = (port: number) => FlowKey.of({ address: '192.0.2.1', port }, { address: '198.51.100.1', port: 80 })
const steer = (port: number, handoff = port): Rule => ({
  action: 'steer',
  flow: flowOf(port),
  target,
  handoff: { handoff, epoch: 7 },
})

let now: number
let rules: Map<string, Rule>
let listed: number
let justified: Set<string>
let removed: FlowKey[]
let errors: unknown[]
/** Whether the redirector removes rules. */
let removes: boolean
let stale: StaleRules

beforeEach(() => {
  now = 0
  rules = new Map()
  listed = 0
  justified = new Set()
  removed = []
  errors = []
  removes = true
  const clock: Clock = { now: () => now * 1000, after: () => () => {} }
  stale = new StaleRules({
    list,
    clock,
    isJustified: (flow) => justified.has(flow.id),
    remove: (flow) => {
      removed.push(flow)
      if (removes) rules.delete(flow.id)
    },
    onError: (error) => errors.push(error),
  })
})

async function* list(): AsyncGenerator<ListedRule> {
  for (const rule of rules.values()) {
    listed++
    yield { rule, counters: { packets: 0n, bytes: 0n, egressPackets: 0n, lastSeen: 0n } }
  }
}

function put(...those: readonly Rule[]): void {
  for (const rule of those) rules.set(rule.flow.id, rule)
}

/** Sweeps as often as a gateway does in a second. */
async function sweep(): Promise<void> {
  for (let count = 0; count < 4; count++) {
    stale.sweep()
    await new Promise(setImmediate)
    now += 250
  }
}

async function pass(): Promise<void> {
  await sweep()
  now += MINUTE
}

test('one that nothing justifies goes when it is found a second time, a minute later', async () => {
  put(steer(1))
  await sweep()
  await sweep()
  expect(removed).toEqual([])
  now += MINUTE
  await sweep()
  expect([removed.map(String), rules.size, errors]).toEqual([[`${flowOf(1)}`], 0, []])
})

test('one that the redirector keeps is removed again, until it is gone', async () => {
  put({ action: 'hold', flow: flowOf(1), handoff: { handoff: 1, epoch: 7 } })
  removes = false
  for (let count = 0; count < 4; count++) await pass()
  expect(removed).toHaveLength(3)
  removes = true
  await pass()
  await pass()
  expect([removed.length, rules.size]).toEqual([4, 0])
})

test('one of a connection, one that is put again, and one that comes and goes stay', async () => {
  justified.add(flowOf(1).id)
  for (let turn = 1; turn < 6; turn++) {
    put(steer(1), steer(2, 100 + turn))
    if (turn % 2 === 0) put(steer(3))
    else rules.delete(flowOf(3).id)
    await pass()
  }
  expect(removed).toEqual([])
})

test('one whose connection is found between two passes stays', async () => {
  put(steer(1))
  await pass()
  justified.add(flowOf(1).id)
  await pass()
  justified.clear()
  await pass()
  expect(removed).toEqual([])
})

test('of many rules a part is looked at in one step, and all of them in the end', async () => {
  put(...Array.from({ length: 3000 }, (_, index) => steer(index + 1)))
  stale.sweep()
  await new Promise(setImmediate)
  expect(listed).toBe(1024)
  await pass()
  expect(listed).toBe(3000)
  await pass()
  expect([removed.length, rules.size]).toEqual([3000, 0])
})

test('a redirector that cannot be listed is tried again after a minute', async () => {
  put(steer(1))
  await pass()
  const { size } = rules
  Object.defineProperty(rules, 'values', {
    configurable: true,
    value: () => {
      throw new Error('gone')
    },
  })
  await pass()
  expect(errors).toEqual([new Error('gone')])
  Reflect.deleteProperty(rules, 'values')
  expect(rules.size).toBe(size)
  await pass()
  await pass()
  expect([removed.length, errors.length]).toEqual([1, 1])
})
