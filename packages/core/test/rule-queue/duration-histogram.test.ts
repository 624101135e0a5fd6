import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { DurationHistogram } from '../../src/rule-queue/duration-histogram.ts'

test('percentiles are at most an eighth too high, and never too low', () => {
  const durations = fc.array(fc.oneof(fc.double({ min: 0, max: 10, noNaN: true }), fc.nat(10_000_000)), {
    minLength: 1,
  })
  fc.assert(
    fc.property(durations, (list) => {
      const histogram = new DurationHistogram()
      for (const duration of list) histogram.record(duration)
      const sorted = list.toSorted((a, b) => a - b)
      const { count, p50, p99, max } = histogram.summary()
      expect(count).toBe(list.length)
      expect(max).toBe(sorted.at(-1) as number)
      for (const [fraction, found] of [
        [0.5, p50],
        [0.99, p99],
      ] as const) {
        const exact = sorted[Math.ceil(fraction * list.length) - 1] as number
        expect(found).toBeGreaterThanOrEqual(exact)
        expect(found).toBeLessThanOrEqual(Math.max(exact * 1.125, 1.125))
      }
    }),
  )
})

test('of nothing everything is 0', () => {
  expect(new DurationHistogram().summary()).toEqual({ count: 0, p50: 0, p99: 0, max: 0 })
})
