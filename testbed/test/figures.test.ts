import { describe, expect, spyOn, test } from 'bun:test'
import { median, printFigure } from '../src/figures.ts'

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

describe('median', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[7], 7],
    [[], Number.NaN],
  ])('%p', (values, expected) => expect(median(values)).toBe(expected))
})
