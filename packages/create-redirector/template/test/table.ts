// Runs the suite without a test runner and prints its table; with --json one JSON object a line, for a table of several redirectors.
import { type ConformanceResult, conformanceTable, redirectorSuite } from '@xoffload/core/conformance'
import { device } from './device.ts'

const results: ConformanceResult[] = []
const tests: (() => Promise<void>)[] = []

redirectorSuite({
  name: 'my-card',
  test: (_, body) => tests.push(body),
  factory: device,
  onResult: (result) => results.push(result),
})

for (const test of tests) {
  // What has failed, and why, is in its result.
  await test().catch(() => {})
}

const json = process.argv.includes('--json')
process.stdout.write(json ? results.map((result) => `${JSON.stringify(result)}\n`).join('') : conformanceTable(results))
process.exitCode = results.some(({ outcome }) => outcome === 'failed') ? 1 : 0
