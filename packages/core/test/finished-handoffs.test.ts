import { expect, test } from 'bun:test'
import { FinishedHandoffs } from '../src/handoff/finished-handoffs.ts'
import { DEFAULT_TARGET_LIMITS, targetStart } from '../src/index.ts'
import { FakeClock } from './support/fake-clock.ts'

const { state } = targetStart({ handoff: 1, epoch: 1, limits: DEFAULT_TARGET_LIMITS })

test('finished handoffs are remembered up to a number; the oldest is forgotten first', () => {
  const finished = new FinishedHandoffs(new FakeClock(), 3, 1000)
  for (const key of ['a', 'b', 'c', 'a', 'd']) finished.add(key, state)
  expect(['a', 'b', 'c', 'd'].filter((key) => finished.get(key))).toEqual(['a', 'c', 'd'])
  expect(finished.size).toBe(3)
})

test('finished handoffs are forgotten after a time', () => {
  const clock = new FakeClock()
  const finished = new FinishedHandoffs(clock, 100, 1000)
  finished.add('a', state)
  clock.stall(600)
  finished.add('b', state)
  clock.stall(600)
  finished.add('c', state)
  expect(['a', 'b', 'c'].filter((key) => finished.get(key))).toEqual(['b', 'c'])
})
