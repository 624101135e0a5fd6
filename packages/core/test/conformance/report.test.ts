import { expect, test } from 'bun:test'
import { type ConformanceResult, conformanceTable } from '../../src/conformance/index.ts'

const result = (redirector: string, test: string, outcome: ConformanceResult['outcome'], reason?: string) => ({
  redirector,
  group: 'rules',
  test,
  outcome,
  ...(reason === undefined ? {} : { reason }),
})

test('the table has a row per test and a column per redirector, and says why something is absent', () => {
  const results = [
    result('tc', 'hold', 'passed'),
    result('tc', 'tunnel', 'absent', 'manifest: no tunnel'),
    result('cx', 'hold', 'absent', 'manifest: it does not hold'),
    result('cx', 'tunnel', 'absent', 'manifest: no tunnel'),
    result('cx', 'list', 'failed', 'expected 1, found 2'),
  ]
  expect(conformanceTable(results)).toBe(
    [
      'test           tc        cx',
      'rules: hold    yes       absent 1',
      'rules: tunnel  absent 2  absent 2',
      'rules: list    not run   FAILED',
      '',
      'absent 1: manifest: it does not hold',
      'absent 2: manifest: no tunnel',
      '',
      'tc: 1 passed, 1 absent, 0 failed',
      'cx: 0 passed, 2 absent, 1 failed',
      '',
    ].join('\n'),
  )
})
