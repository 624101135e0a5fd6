import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { conformanceTests } from '../src/conformance/files.ts'

test('the conformance table has the results of every suite that gives some', async () => {
  const root = join(import.meta.dir, '../..')
  const listed = await Bun.$`git grep -l recordConformance -- '*.test.ts'`.cwd(root).text()
  const expected = listed.split('\n').filter((file) => file !== '' && !file.endsWith('conformance-files.test.ts'))
  expect(expected.length).toBeGreaterThanOrEqual(4)
  expect(conformanceTests(root)).toEqual(expected.sort())
})
