import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { TimerWheel } from '../src/index.ts'
import { FakeClock } from './support/fake-clock.ts'

test('every limit fires once, in its time, unless it is cancelled', async () => {
  const limits = fc.array(fc.record({ at: fc.nat(3000), after: fc.nat(9000), cancelAt: fc.option(fc.nat(9000)) }), {
    maxLength: 20,
  })
  await fc.assert(
    fc.asyncProperty(limits, fc.integer({ min: 2, max: 600 }), async (list, slots) => {
      const clock = new FakeClock()
      const zero = clock.now()
      const milliseconds = (): number => (clock.now() - zero) / 1000
      const wheel = new TimerWheel(clock, 10, slots)
      const fired = new Map<number, number[]>()
      for (const [index, { at, after, cancelAt }] of list.entries()) {
        fired.set(index, [])
        clock.after(at, () => {
          const timer = wheel.start(after, () => fired.get(index)?.push(milliseconds()))
          if (cancelAt !== null) clock.after(cancelAt, () => wheel.cancel(timer))
        })
      }
      await clock.advance(13_000)
      for (const [index, { at, after, cancelAt }] of list.entries()) {
        const times = fired.get(index) ?? []
        const cancelled = cancelAt !== null && cancelAt < after
        const late = cancelAt !== null && cancelAt <= after + 20 && !cancelled
        if (cancelled) expect(times).toEqual([])
        else if (!late) expect(times).toHaveLength(1)
        for (const time of times) {
          expect(time).toBeGreaterThanOrEqual(at + after)
          expect(time).toBeLessThanOrEqual(at + after + 20)
        }
      }
      expect([wheel.size, clock.pending]).toEqual([0, 0])
    }),
  )
})

test('after a stall longer than the wheel everything that is due fires, and nothing else', async () => {
  const clock = new FakeClock()
  const wheel = new TimerWheel(clock, 10, 8)
  const fired: number[] = []
  for (const after of [5, 50, 500, 5000]) wheel.start(after, () => fired.push(after))
  clock.stall(2000)
  await clock.advance(20)
  expect(fired.sort((a, b) => a - b)).toEqual([5, 50, 500])
  expect(wheel.size).toBe(1)
})

test('the clock is left alone while there is no limit', () => {
  const clock = new FakeClock()
  const wheel = new TimerWheel(clock)
  const timers = [wheel.start(100, () => {}), wheel.start(200, () => {})]
  expect(clock.pending).toBe(1)
  for (const timer of timers) wheel.cancel(timer)
  for (const timer of timers) wheel.cancel(timer)
  expect([clock.pending, wheel.size]).toEqual([0, 0])
})

test('a limit may start and cancel others when it fires', async () => {
  const clock = new FakeClock()
  const wheel = new TimerWheel(clock)
  const fired: string[] = []
  wheel.start(20, () => {
    fired.push('first')
    wheel.cancel(second)
    wheel.start(0, () => fired.push('third'))
  })
  const second = wheel.start(20, () => fired.push('second'))
  await clock.advance(200)
  expect(fired).toEqual(['first', 'third'])
  expect(clock.pending).toBe(0)
})

test('after a pause of the whole process a limit waits for what has come meanwhile', () => {
  let now = 0
  let turn: (() => void) | undefined
  const wheel = new TimerWheel({
    now: () => now * 1000,
    after: (_, callback) => {
      turn = callback
      return () => {}
    },
  })
  const fired: string[] = []
  const answered = wheel.start(100, () => fired.push('answered'))
  wheel.start(100, () => fired.push('unanswered'))
  now = 5000
  turn?.()
  expect(fired).toEqual([])
  wheel.cancel(answered)
  now = 5010
  turn?.()
  expect(fired).toEqual(['unanswered'])
})
