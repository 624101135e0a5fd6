import { afterEach, expect, test } from 'bun:test'
import { runChecks } from '../checks/check.ts'
import { leftoverChecks, testRunVariable } from '../checks/leftovers.ts'

const mark = process.env[testRunVariable]
afterEach(() => {
  if (mark === undefined) delete process.env[testRunVariable]
  else process.env[testRunVariable] = mark
})

test('a check that throws is a failure', async () => {
  const tally = await runChecks([
    { name: 'holds', run: async () => undefined },
    { name: 'does not', run: async () => 'because' },
    { name: 'breaks', run: () => Promise.reject(new Error('broken')) },
  ])
  expect(tally).toMatchObject({ passed: 1, failed: 2, skipped: 0 })
})

// Processes are found through /proc, which only Linux has.
if (process.platform === 'linux') {
  test('a process that outlives the tests is found', async () => {
    process.env[testRunVariable] = crypto.randomUUID()
    const check = (await leftoverChecks(0)).find(({ name }) => name === 'no processes left behind')
    const child = Bun.spawn(['sleep', '60'], { env: process.env })
    try {
      expect(await check?.run()).toContain(`${child.pid} sleep 60`)
    } finally {
      child.kill('SIGKILL')
      await child.exited
    }
    expect((await check?.run()) ?? '').not.toContain(`${child.pid} `)
  })
}
