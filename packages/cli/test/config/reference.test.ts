import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { configReference } from '../../src/config/index.ts'

test.each(['gateway', 'server'] as const)('the README has the reference of the %s configuration', (kind) => {
  const readme = readFileSync(join(import.meta.dir, '../../README.md'), 'utf8')
  expect(readme).toContain(configReference(kind))
})
