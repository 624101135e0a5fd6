import { describe, expect, spyOn, test } from 'bun:test'
import { median, percentile, printFigure } from '../src/figures.ts'

test('a figure is one line of JSON with rounded numbers', () => {
  const write = spyOn(process.stdout, 'write').mockReturnValue(true)
  printFigure({
    bench: 'demo',
    case: 'direct',
    metric: 'requests_per_s',
    unit: '1/s',
    value: 12345.678,
    ratio: 1.23456,
    size: 4096,
  })
  const text = String(write.mock.calls[0]?.[0])
  write.mockRestore()
  expect(text).toBe(
    '{"bench":"demo","case":"direct","metric":"requests_per_s","unit":"1/s","value":12346,"ratio":1.235,"size":4096}\n',
  )
})

test('a figure for people is one line of text', () => {
  const write = spyOn(process.stdout, 'write').mockReturnValue(true)
  printFigure({ bench: 'rules', case: 'tc', metric: 'insert', unit: 'us', value: 4.01, n: 5 }, false)
  printFigure({ bench: 'rules', case: 'tc', metric: 'insert', unit: 'us', value: 4.01 }, false)
  const lines = write.mock.calls.map(([text]) => String(text))
  write.mockRestore()
  expect(lines).toEqual(['rules tc insert: 4.01 us (n 5)\n', 'rules tc insert: 4.01 us\n'])
})

test.each([
  [0.5, 2],
  [0.75, 3],
  [0.99, 4],
  [1, 4],
  [0, 1],
])('percentile %p', (fraction, expected) => {
  expect(percentile([1, 2, 3, 4], fraction)).toBe(expected)
  expect(percentile([], fraction)).toBeNaN()
})

describe('median', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[7], 7],
    [[], Number.NaN],
  ])('%p', (values, expected) => expect(median(values)).toBe(expected))
})
