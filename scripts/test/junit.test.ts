import { describe, expect, test } from 'bun:test'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tallyReport } from '../runner/junit.ts'
import { runGroup } from '../runner/run-group.ts'

/** Runs files of a throw-away directory as a group, as the runner does. */
async function tallyOf(files: Readonly<Record<string, string>>, namePattern?: string) {
  const root = await mkdtemp(join(tmpdir(), 'xoffload-runner-'))
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text)
    return await runGroup(
      root,
      { tier: 'pure', insideGuest: false, directory: 'example', files: Object.keys(files) },
      { namePattern, quiet: true },
    )
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

const imports = "import { expect, test } from 'bun:test'\n"

describe('a report of bun test', () => {
  test('is counted, with escaped and nested names', async () => {
    const source = `${imports}
      test('fine', () => {})
      test('1 > 0 && "<testcase />"', () => { expect('<skipped />').toBe('<testcase>') })
      test.skip('later', () => {})
      test.todo('some day')
      test.each([1, 2])('each %d', () => {})`
    const tally = await tallyOf({ 'a.test.ts': source })
    expect(tally).toEqual({
      passed: 3,
      failed: 1,
      skipped: 2,
      failures: [{ name: 'a.test.ts: 1 > 0 && "<testcase />"', reason: expect.any(String) }],
    })
    const [said, stack = ''] = (tally.failures[0]?.reason ?? '').split('\n\n      at ')
    expect(said).toBe(
      'AssertionError: expect(received).toBe(expected)\n\nExpected: "<testcase>"\nReceived: "<skipped />"',
    )
    expect(stack).toContain('a.test.ts:4:')
  })

  test('says why a test failed that took too long', async () => {
    const source = `import { describe, test } from 'bun:test'
      describe('outer', () => describe('inner', () => test('slow', async () => { await new Promise(() => {}) }, 10)))`
    expect((await tallyOf({ 'a.test.ts': source })).failures).toEqual([
      { name: 'a.test.ts: outer > inner > slow', reason: 'test timed out' },
    ])
  })

  test('without test cases is empty', () => {
    expect(tallyReport('<testsuites tests="0"></testsuites>')).toMatchObject({ passed: 0, failed: 0, skipped: 0 })
  })
})

describe('a group of test files', () => {
  test('that cannot be imported fails', async () => {
    const tally = await tallyOf({ 'a.test.ts': "import './absent.ts'", 'b.test.ts': `${imports}test('b', () => {})` })
    expect(tally).toMatchObject({ passed: 1, failed: 1 })
  })

  test('whose process dies fails, although no test case tells of it', async () => {
    const tally = await tallyOf({ 'a.test.ts': `${imports}test('a', () => { process.kill(process.pid, 'SIGKILL') })` })
    expect(tally.failures).toEqual([{ name: 'example (pure): bun test ended with SIGKILL', reason: '' }])
  })

  test('that ends by itself with another code fails', async () => {
    const tally = await tallyOf({ 'a.test.ts': `${imports}test('a', () => { process.exit(3) })` })
    expect(tally).toMatchObject({ passed: 0, failed: 1 })
  })

  test('counts only what a name pattern selects', async () => {
    const source = `${imports}test('one', () => {}); test('two', () => { throw new Error() })`
    expect(await tallyOf({ 'a.test.ts': source }, 'one')).toMatchObject({ passed: 1, failed: 0, skipped: 0 })
    expect(await tallyOf({ 'a.test.ts': source }, 'none')).toMatchObject({ passed: 0, failed: 0, skipped: 0 })
  })
})
