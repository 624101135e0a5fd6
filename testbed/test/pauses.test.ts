import { expect, test } from 'bun:test'
import { joined, withoutPauses } from '../src/pauses/pauses.ts'

test('pauses that overlap or touch are one, in order of time', () => {
  const pauses = [
    { from: 50, to: 60 },
    { from: 10, to: 30 },
    { from: 12, to: 20 },
    { from: 30, to: 35 },
  ]
  expect(joined(pauses)).toEqual([
    { from: 10, to: 35 },
    { from: 50, to: 60 },
  ])
})

test.each([
  { name: 'none', pauses: [], left: 100 },
  { name: 'one before', pauses: [{ from: 0, to: 100 }], left: 100 },
  { name: 'one after', pauses: [{ from: 300, to: 400 }], left: 100 },
  { name: 'an early one', pauses: [{ from: 50, to: 130 }], left: 70 },
  { name: 'a late one', pauses: [{ from: 180, to: 900 }], left: 80 },
  {
    name: 'two',
    pauses: [
      { from: 110, to: 120 },
      { from: 130, to: 150 },
    ],
    left: 70,
  },
  { name: 'one over all of it', pauses: [{ from: 0, to: 1000 }], left: 0 },
])('what pauses leave of a time: $name', ({ pauses, left }) => {
  expect(withoutPauses({ from: 100, to: 200 }, pauses)).toBe(left)
})
