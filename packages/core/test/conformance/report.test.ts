import { expect, test } from 'bun:test'
import { type ConformanceResult, conformanceTable } from '../../src/conformance/index.ts'

const result = (redirector: string, test: string, outcome: ConformanceResult['outcome'], reason?: string) => ({
  redirector,
  group: 'rules',
  test,
  outcome,
  ...(reason === undefined ? {} : { reason }),
})

test('the table has a row per test and a column per redirector, and says why something is absent, or less than whole', () => {
  const results = [
    result('tc', 'hold', 'passed'),
    result('tc', 'tunnel', 'absent', 'manifest: no tunnel'),
    result('cx', 'hold', 'absent', 'manifest: it does not hold'),
    result('cx', 'tunnel', 'absent', 'manifest: no tunnel'),
    result('tc', 'list', 'passed', 'with 5 rules instead of 10'),
    result('cx', 'list', 'failed', 'expected 1, found 2'),
  ]
  expect(conformanceTable(results)).toBe(
    [
      'test           tc        cx',
      'rules: hold    yes       absent 1',
      'rules: tunnel  absent 2  absent 2',
      'rules: list    yes 3     FAILED',
      '',
      '1: manifest: it does not hold',
      '2: manifest: no tunnel',
      '3: with 5 rules instead of 10',
      '',
      'tc: 2 passed, 1 absent, 0 failed',
      'cx: 0 passed, 2 absent, 1 failed',
      '',
    ].join('\n'),
  )
})
